// Package client calls one callee of the shop over HTTP, gRPC or the ledger's line protocol, on kept
// connections or fresh ones. Nothing here ever retries: a request that fails is a leg that failed.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
)

// Headers (and gRPC metadata) that travel with a request.
const (
	// HeaderID carries the request id; Envoy logs it, so one id finds a request at every hop.
	HeaderID = "x-request-id"
	// HeaderTimeout carries the milliseconds that the caller is going to wait.
	HeaderTimeout = "shop-timeout-ms"
	// HeaderAttempts is what Istio's proxies count when they retry.
	HeaderAttempts = "x-envoy-attempt-count"
)

// idleLimit is how long a kept connection may lie unused. It is shorter than the time that a server of
// the shop spends draining (see server.Drain): a connection is then either used while the server says
// "close", or dropped by its client; the server never closes one that a request is about to use.
const idleLimit = 2 * time.Second

// Request is one request. Its deadline is the context's.
type Request struct {
	ID    string // random, used once
	Path  string // what to ask an HTTP callee for; empty for the target's own path
	Fresh bool   // on a new connection that is closed afterwards, here and at every further hop
}

// Client calls one callee.
type Client interface {
	// Call returns the leg to the callee, and after it the legs that the callee reports.
	Call(ctx context.Context, request Request) []answer.Leg
	Close()
}

// New returns a client for target, named edge ("caller->callee") in its legs.
//
// target is http://host:port/path, grpc://host:port or tcp://host:port. An HTTP target may end in
// ?maxage=2s: kept connections are replaced at that age, see generations.
func New(edge, target string) (Client, error) {
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if parsed.Port() == "" && parsed.Scheme != "http" {
		return nil, fmt.Errorf("target %q names no port", target)
	}
	switch parsed.Scheme {
	case "http":
		return newHTTP(edge, parsed)
	case "grpc":
		return newGRPC(edge, parsed.Host)
	case "tcp":
		return newTCP(edge, parsed.Host), nil
	}
	return nil, fmt.Errorf("target %q: the scheme must be http, grpc or tcp", target)
}

// dial resolves the name anew for every connection; only IPv4, to ask DNS once and not twice.
func dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", address)
}

// measure times call and turns its result into legs. call fills in what it learns on the way.
func measure(edge, protocol string, call func(leg *answer.Leg) ([]answer.Leg, error)) []answer.Leg {
	started := time.Now()
	leg := answer.Leg{Edge: edge, Protocol: protocol, At: started.UnixNano(), Outcome: answer.OK}
	further, err := call(&leg)
	leg.Micros = time.Since(started).Microseconds()
	if err != nil {
		leg.Outcome, leg.Error = class(err), err.Error()
	}
	return append([]answer.Leg{leg}, further...)
}

var (
	errStatus = errors.New("not answered by the shop")
	errAnswer = errors.New("not an answer of the shop")
	// ErrNonce says that an answer is cached or faked.
	ErrNonce = errors.New("the answer was not made for this request")
)

// accept reads an answer's text into leg and checks that it was made for the request id.
func accept(leg *answer.Leg, id, text string) (*answer.Answer, error) {
	reply := new(answer.Answer)
	if err := json.Unmarshal([]byte(text), reply); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	leg.Pod, leg.Proof, leg.Attempts = reply.Pod, reply.Proof, reply.Attempts
	leg.Nonce = answer.Verify(reply.Pod, id, reply.Proof)
	if !leg.Nonce {
		return nil, ErrNonce
	}
	return reply, nil
}

// class sorts an error into the few kinds that tell failures of a mesh apart.
func class(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errStatus):
		return "status"
	case errors.Is(err, errAnswer):
		return "answer"
	case errors.Is(err, ErrNonce):
		return "nonce"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "connect"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		// net/http does not export this one.
		strings.Contains(err.Error(), "server closed idle connection"):
		return "closed"
	}
	return "other"
}
