// Package server holds the shop's servers: one process serves one protocol and stops gracefully.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"meshguard.dev/testbed/shop/internal/client"
)

// shutdownLimit bounds how long a stopping server waits for requests that are under way. With the 4 s of
// the preStop hook it stays within the pods' grace period of 20 s.
const shutdownLimit = 10 * time.Second

// Config describes one server.
type Config struct {
	Name      string            // the caller in its legs, e.g. "cart"
	Pod       string            // who it says it is; a random part is added for every start
	Protocol  string            // http, grpc or tcp
	Upstreams map[string]string // callee -> target, see client.New; HTTP only
}

// Drain says whether the server has been asked to go away. From then on it still serves everything,
// but asks each client not to come back on the same connection, so that at the end no connection is
// closed that a request is about to use.
type Drain struct{ draining atomic.Bool }

// Begin starts draining.
func (d *Drain) Begin() { d.draining.Store(true) }

// Draining tells whether draining has begun.
func (d *Drain) Draining() bool { return d.draining.Load() }

// Serve answers on listener until ctx is done, then finishes what is under way and returns.
func Serve(ctx context.Context, config Config, listener net.Listener, drain *Drain) error {
	pod := config.Pod + "#" + instance()
	switch config.Protocol {
	case "http":
		upstreams := make(map[string]client.Client, len(config.Upstreams))
		for callee, target := range config.Upstreams {
			upstream, err := client.New(config.Name+"->"+callee, target)
			if err != nil {
				return err
			}
			defer upstream.Close()
			upstreams[callee] = upstream
		}
		return serveHTTP(ctx, listener, &httpServer{pod: pod, upstreams: upstreams, drain: drain})
	case "grpc":
		return serveGRPC(ctx, listener, &grpcServer{pod: pod, stopping: ctx.Done()})
	case "tcp":
		return serveTCP(ctx, listener, &tcpServer{pod: pod, drain: drain})
	}
	return fmt.Errorf("protocol %q: must be http, grpc or tcp", config.Protocol)
}

// instance tells two starts of the same pod apart.
func instance() string {
	var bytes [2]byte
	rand.Read(bytes[:])
	return hex.EncodeToString(bytes[:])
}
