package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/client"
)

const (
	longestID      = 256 // bytes
	defaultTimeout = 10 * time.Second
)

// httpServer answers a POST whose body is the request id:
//
//	/                    by itself
//	/call/CALLEE[/...]   after calling CALLEE (and asking it for the rest of the path)
//
// The status is 200, or 502 if a leg further down failed; both carry the legs. ?fresh=1 makes every
// further hop use a connection of its own.
type httpServer struct {
	pod       string
	upstreams map[string]client.Client
	drain     *Drain
}

func serveHTTP(ctx context.Context, listener net.Listener, handler *httpServer) error {
	// No idle timeout: one shorter than a proxy's (Envoy: an hour) would close connections that the
	// proxy is about to use. No header timeout either: it would end idle connections just the same.
	server := &http.Server{Handler: handler}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), shutdownLimit)
		defer cancel()
		stopped <- server.Shutdown(limit)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.drain.Draining() {
		w.Header().Set("Connection", "close")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, longestID))
	if err != nil || len(body) == 0 {
		http.Error(w, "the body must be a request id", http.StatusBadRequest)
		return
	}
	reply := answer.New(s.pod, string(body))
	// Absent without a proxy, so not an error.
	reply.Attempts, _ = strconv.Atoi(r.Header.Get(client.HeaderAttempts))
	if route, found := strings.CutPrefix(r.URL.Path, "/call/"); found {
		callee, rest, _ := strings.Cut(route, "/")
		upstream := s.upstreams[callee]
		if upstream == nil {
			http.Error(w, "no such callee: "+callee, http.StatusNotFound)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), budget(r))
		defer cancel()
		fresh := r.URL.Query().Get("fresh") == "1"
		reply.Legs = upstream.Call(ctx, client.Request{ID: string(body), Path: "/" + rest, Fresh: fresh})
	}
	text, err := answer.Line(reply)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("content-type", "application/json")
	if answer.FirstFailed(reply.Legs) != nil {
		// Not 503: the proxies in front would take that for their own and try again.
		w.WriteHeader(http.StatusBadGateway)
	}
	if _, err := w.Write(text); err != nil {
		panic(http.ErrAbortHandler) // the caller sees a broken response, which is what it is
	}
}

// budget is what may be spent on the next hop: less than the caller waits, so that the caller hears
// which leg was slow instead of giving up itself.
func budget(r *http.Request) time.Duration {
	millis, err := strconv.Atoi(r.Header.Get(client.HeaderTimeout))
	if err != nil {
		return defaultTimeout
	}
	return time.Duration(millis) * time.Millisecond * 8 / 10
}
