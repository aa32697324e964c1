// Package answer defines what one hop of the shop tells its caller: who answered, a proof that the
// answer was made for this very request, and the legs it travelled further down.
package answer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// OK is the outcome of a leg that was answered, in time, by the callee itself.
const OK = "ok"

// Leg is one request from one caller to one callee, as its caller saw it.
type Leg struct {
	Edge     string `json:"edge"`               // "caller->callee"
	Protocol string `json:"protocol"`           // http, grpc or tcp
	At       int64  `json:"at"`                 // when it was sent, unix nanoseconds
	Micros   int64  `json:"us"`                 // from sending to the whole answer, microseconds
	Outcome  string `json:"outcome"`            // OK or an error class
	Status   int    `json:"status,omitempty"`   // HTTP status or gRPC code
	Conn     string `json:"conn,omitempty"`     // new or reused; empty if no connection was had
	Pod      string `json:"pod,omitempty"`      // who answered
	Proof    string `json:"proof,omitempty"`    // see Sign
	Nonce    bool   `json:"nonce"`              // the proof is good for this request
	Attempts int    `json:"attempts,omitempty"` // how often the mesh sent it, where the callee could see that
	Flags    string `json:"flags,omitempty"`    // Envoy's response flags, where a header tells
	Error    string `json:"error,omitempty"`
}

// Answer is the body of every response.
type Answer struct {
	Pod      string `json:"pod"`
	Proof    string `json:"proof"`
	Attempts int    `json:"attempts,omitempty"`
	// Closing asks the caller not to use this connection again. HTTP and gRPC have a word of their
	// own for it; the line protocol of the ledger uses this one.
	Closing bool  `json:"closing,omitempty"`
	Legs    []Leg `json:"legs,omitempty"`
}

// New returns an Answer of pod to the request id.
func New(pod, id string) Answer {
	return Answer{Pod: pod, Proof: Sign(pod, id)}
}

// Sign returns a proof that pod answered the request id: a fresh salt and a MAC over both. A cached
// or faked answer fails Verify, because the id of every request is random and used once.
func Sign(pod, id string) string {
	var salt [8]byte
	rand.Read(salt[:]) // never fails: crypto/rand aborts the program instead
	text := hex.EncodeToString(salt[:])
	return text + "." + mac(pod, text, id)
}

// Verify reports whether proof was made by pod for the request id.
func Verify(pod, id, proof string) bool {
	salt, sum, found := strings.Cut(proof, ".")
	return found && hmac.Equal([]byte(sum), []byte(mac(pod, salt, id)))
}

func mac(pod, salt, id string) string {
	h := hmac.New(sha256.New, []byte(pod))
	h.Write([]byte(salt + " " + id))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Line returns value as one line of JSON, with its line feed. Unlike json.Marshal it leaves the ">" of
// an edge's name as it is.
func Line(value any) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return line.Bytes(), err
}

// FirstFailed returns the first leg that failed, or nil.
func FirstFailed(legs []Leg) *Leg {
	for i := range legs {
		if legs[i].Outcome != OK {
			return &legs[i]
		}
	}
	return nil
}
