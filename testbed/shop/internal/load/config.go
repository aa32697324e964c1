// Package load is an open-loop load generator: the time of every request is fixed before the first one
// is sent, latency counts from that time, and every request leaves one line in a file.
package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	longestRun         = 4 * 60 * 60 // seconds
	highestRate        = 2000        // requests a second on one edge
	defaultTimeout     = 10000       // milliseconds
	defaultMaxInFlight = 512
	streamScheme       = "grpc://"
)

// Config is one run. It comes as JSON; unknown fields are refused.
type Config struct {
	Run         string   `json:"run"`           // names the file of records
	MaxSeconds  int      `json:"max_seconds"`   // the run stops by itself
	TimeoutMS   int      `json:"timeout_ms"`    // per request, from the moment it was due
	MaxInFlight int      `json:"max_in_flight"` // per edge; a request beyond it fails as "overload"
	Edges       []Edge   `json:"edges"`
	Streams     []Stream `json:"streams"` // gRPC streams held open throughout
}

// Edge is one pair of caller and callee under a constant rate.
type Edge struct {
	Caller   string  `json:"caller"`
	Callee   string  `json:"callee"`
	Protocol string  `json:"protocol"` // of this edge, which need not be that of the target
	Target   string  `json:"target"`   // where the load enters, see client.New
	Entry    string  `json:"entry"`    // the workload that is asked to call the callee; empty: none
	Rate     float64 `json:"rate"`     // requests a second
	Fresh    float64 `json:"fresh"`    // share of requests on connections of their own, 0 to 1
}

// Stream is a gRPC stream held open, and opened again when it closes.
type Stream struct {
	Callee string `json:"callee"`
	Target string `json:"target"`
}

// Name is "caller->callee".
func (e Edge) Name() string { return e.Caller + "->" + e.Callee }

// first is the name of the leg that the generator itself sees.
func (e Edge) first() string {
	if e.Entry == "" {
		return e.Name()
	}
	return caller + "->" + e.Entry
}

func (c Config) timeout() time.Duration { return time.Duration(c.TimeoutMS) * time.Millisecond }

var runName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ParseConfig reads and checks a configuration.
func ParseConfig(text []byte) (Config, error) {
	config := Config{TimeoutMS: defaultTimeout, MaxInFlight: defaultMaxInFlight}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	return config, config.check()
}

func (c Config) check() error {
	switch {
	case !runName.MatchString(c.Run):
		return fmt.Errorf("run %q: must be lower-case letters, digits and dashes", c.Run)
	case c.MaxSeconds < 1 || c.MaxSeconds > longestRun:
		return fmt.Errorf("max_seconds must be 1 to %d", longestRun)
	case c.TimeoutMS < 1 || c.MaxInFlight < 1:
		return errors.New("timeout_ms and max_in_flight must be positive")
	case len(c.Edges) == 0:
		return errors.New("no edges")
	}
	for _, edge := range c.Edges {
		if err := edge.check(); err != nil {
			return fmt.Errorf("edge %s: %w", edge.Name(), err)
		}
	}
	for _, stream := range c.Streams {
		if !strings.HasPrefix(stream.Target, streamScheme) {
			return fmt.Errorf("stream to %s: the target must begin with %s", stream.Callee, streamScheme)
		}
		if err := checkTarget(stream.Target); err != nil {
			return err
		}
	}
	return nil
}

func (e Edge) check() error {
	switch {
	case e.Caller == "" || e.Callee == "":
		return errors.New("caller and callee must be named")
	case e.Protocol != "http" && e.Protocol != "grpc" && e.Protocol != "tcp":
		return fmt.Errorf("protocol %q: must be http, grpc or tcp", e.Protocol)
	case !(e.Rate > 0 && e.Rate <= highestRate): // also refuses NaN
		return fmt.Errorf("rate must be above 0 and at most %d", highestRate)
	case !(e.Fresh >= 0 && e.Fresh <= 1):
		return errors.New("fresh must be 0 to 1")
	}
	return checkTarget(e.Target)
}

// checkTarget keeps the load inside: services of the cluster, or this very host (for tests).
func checkTarget(target string) error {
	parsed, err := url.Parse(target)
	if err != nil {
		return err
	}
	host := parsed.Hostname()
	if strings.HasSuffix(host, ".svc.cluster.local") {
		return nil
	}
	if address := net.ParseIP(host); address != nil && address.IsLoopback() {
		return nil
	}
	return fmt.Errorf("target %q is neither a service of the cluster nor a loopback address", target)
}
