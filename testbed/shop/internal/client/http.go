package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
)

// longestAnswer bounds what is read of a body, in bytes.
const longestAnswer = 1 << 20

type httpClient struct {
	edge string
	base *url.URL
	kept *generations
	// fresh closes each connection after its answer.
	fresh *http.Transport
}

func newHTTP(edge string, target *url.URL) (*httpClient, error) {
	kept := &generations{current: newTransport()}
	if text := target.Query().Get("maxage"); text != "" {
		age, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", target, err)
		}
		kept.maxAge = age
	}
	base := &url.URL{Scheme: "http", Host: target.Host, Path: target.Path}
	fresh := newTransport()
	fresh.DisableKeepAlives = true
	return &httpClient{edge: edge, base: base, kept: kept, fresh: fresh}, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) },
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     idleLimit,
		DisableCompression:  true,
	}
}

func (c *httpClient) Call(ctx context.Context, request Request) []answer.Leg {
	return measure(c.edge, "http", func(leg *answer.Leg) ([]answer.Leg, error) {
		transport := c.fresh
		if !request.Fresh {
			transport = c.kept.transport()
		}
		response, err := transport.RoundTrip(c.prepare(ctx, request, leg))
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		leg.Status = response.StatusCode
		leg.Flags = response.Header.Get("x-response-flags")
		body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
		if err != nil {
			return nil, err
		}
		// A 502 of the shop itself carries the legs of which one failed; one of a proxy does not.
		if response.Header.Get("content-type") != "application/json" {
			return nil, fmt.Errorf("%w: %s: %.200s", errStatus, response.Status, body)
		}
		reply, err := accept(leg, request.ID, string(body))
		if err != nil {
			return nil, err
		}
		return reply.Legs, nil
	})
}

func (c *httpClient) prepare(ctx context.Context, request Request, leg *answer.Leg) *http.Request {
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		leg.Conn = "new"
		if got.Reused {
			leg.Conn = "reused"
		}
	}}
	target := *c.base
	if request.Path != "" {
		target.Path = request.Path
	}
	if request.Fresh {
		target.RawQuery = "fresh=1"
	}
	header := http.Header{}
	header.Set(HeaderID, request.ID)
	if deadline, found := ctx.Deadline(); found {
		header.Set(HeaderTimeout, strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	// A POST whose body cannot be had again: for anything else net/http sends the request a second
	// time, silently, when a kept connection turns out to be closed.
	return (&http.Request{
		Method:        http.MethodPost,
		URL:           &target,
		Host:          target.Host,
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(request.ID)),
		ContentLength: int64(len(request.ID)),
	}).WithContext(httptrace.WithClientTrace(ctx, trace))
}

func (c *httpClient) Close() {
	c.kept.transport().CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// generations replaces a pool of kept connections by a new one when it reaches maxAge (0: never).
//
// A headless service needs it. Its clients connect to a pod, and a sidecar binds their connection to
// that pod for good; the pod's "Connection: close" ends at the sidecar. A client that must not outlive
// the pod it talks to therefore has to look the name up again, sooner than a pod takes to drain.
type generations struct {
	maxAge  time.Duration
	mutex   sync.Mutex
	current *http.Transport
	born    time.Time
}

func (g *generations) transport() *http.Transport {
	if g.maxAge == 0 {
		return g.current
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if now := time.Now(); now.Sub(g.born) >= g.maxAge {
		g.current.CloseIdleConnections()
		g.current, g.born = newTransport(), now
	}
	return g.current
}
