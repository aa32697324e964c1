package answer

import (
	"strings"
	"testing"
)

func TestProofIsGoodForOnePodAndOneRequestOnly(t *testing.T) {
	proof := Sign("cart-1", "a")
	if !Verify("cart-1", "a", proof) {
		t.Error("a genuine proof was refused")
	}
	for _, wrong := range []struct{ pod, id, proof string }{
		{"cart-1", "b", proof}, // an answer to another request: a cache
		{"cart-2", "a", proof},
		{"cart-1", "a", ""},
		{"cart-1", "a", strings.ToUpper(proof)},
	} {
		if Verify(wrong.pod, wrong.id, wrong.proof) {
			t.Errorf("accepted %+v", wrong)
		}
	}
}

func TestProofsNeverRepeat(t *testing.T) {
	if Sign("cart-1", "a") == Sign("cart-1", "a") {
		t.Error("the same proof twice: a cached answer would not show")
	}
}
