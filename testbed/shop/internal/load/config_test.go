package load

import (
	"strings"
	"testing"
)

func config(edge string) string {
	return `{"run":"r","max_seconds":1,"edges":[` + edge + `]}`
}

func TestParseConfigRefuses(t *testing.T) {
	good := `{"caller":"load","callee":"a","protocol":"http","target":"http://a.b.svc.cluster.local:80","rate":1}`
	if _, err := ParseConfig([]byte(config(good))); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		strings.Replace(config(good), "a.b.svc.cluster.local", "example.com", 1):            "neither a service",
		strings.Replace(config(good), "a.b.svc.cluster.local", "svc.cluster.local.evil", 1): "neither a service",
		strings.Replace(config(good), `"rate":1`, `"rate":0`, 1):                            "rate",
		strings.Replace(config(good), `"rate":1`, `"rate":1,"fresh":2`, 1):                  "fresh",
		strings.Replace(config(good), `"rate":1`, `"rate":1,"retries":2`, 1):                "unknown field",
		strings.Replace(config(good), `"max_seconds":1`, `"max_seconds":0`, 1):              "max_seconds",
		strings.Replace(config(good), `"max_seconds":1`, `"max_seconds":99999`, 1):          "max_seconds",
		strings.Replace(config(good), `"run":"r"`, `"run":"../r"`, 1):                       "run",
		strings.Replace(config(good), `"protocol":"http"`, `"protocol":"udp"`, 1):           "protocol",
		config(""): "no edges",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestFreshShareIsSpreadEvenly(t *testing.T) {
	lane := lane{edge: Edge{Fresh: 0.3}}
	for start := 0; start < 50; start++ {
		fresh := 0
		for n := start; n < start+10; n++ {
			if lane.fresh(n) {
				fresh++
			}
		}
		if fresh != 3 {
			t.Fatalf("%d of the 10 requests from %d on are fresh, want 3", fresh, start)
		}
	}
}
