package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"meshguard.dev/testbed/shop/internal/answer"
)

// tcpServer speaks first, see client.tcpClient for the protocol.
type tcpServer struct {
	pod   string
	drain *Drain
}

func serveTCP(ctx context.Context, listener net.Listener, server *tcpServer) error {
	var open connections
	go func() {
		<-ctx.Done()
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return open.finish()
		}
		if err != nil {
			return err
		}
		open.serve(conn, server.talk)
	}
}

func (s *tcpServer) talk(conn net.Conn) {
	nonce := instance()
	if _, err := fmt.Fprintf(conn, "LEDGER %s\n", nonce); err != nil {
		return
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		id, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), nonce+" ")
		if !found {
			return // a client that has not read the banner
		}
		reply := answer.New(s.pod, id)
		reply.Closing = s.drain.Draining()
		text, err := answer.Line(reply)
		if err == nil {
			_, err = conn.Write(text)
		}
		if err != nil || reply.Closing {
			return
		}
	}
}

// connections keeps track of what is open, to close it in the end.
type connections struct {
	mutex sync.Mutex
	open  map[net.Conn]struct{}
	group sync.WaitGroup
}

func (c *connections) serve(conn net.Conn, talk func(net.Conn)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.open == nil {
		c.open = make(map[net.Conn]struct{})
	}
	c.open[conn] = struct{}{}
	c.group.Go(func() {
		defer c.forget(conn)
		talk(conn)
	})
}

func (c *connections) forget(conn net.Conn) {
	conn.Close()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.open, conn)
}

// finish ends reading on every connection: an answer that is being written still gets out.
func (c *connections) finish() error {
	c.mutex.Lock()
	for conn := range c.open {
		// Fails only on a connection that has just ended by itself.
		_ = conn.SetReadDeadline(time.Now())
	}
	c.mutex.Unlock()
	c.group.Wait()
	return nil
}
