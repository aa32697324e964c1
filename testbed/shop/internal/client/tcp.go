package client

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

// tcpClient speaks the ledger's protocol: the *server* speaks first, as MySQL and SMTP do. Its banner
// is "LEDGER nonce"; each request is the line "nonce id", each response a line of JSON.
type tcpClient struct {
	edge    string
	address string
	mutex   sync.Mutex
	idle    []*tcpConn // the most recently used last
}

type tcpConn struct {
	net.Conn
	lines  *bufio.Reader
	nonce  string
	expiry *time.Timer
}

func newTCP(edge, address string) *tcpClient {
	return &tcpClient{edge: edge, address: address}
}

func (c *tcpClient) Call(ctx context.Context, request Request) []answer.Leg {
	return measure(c.edge, "tcp", func(leg *answer.Leg) ([]answer.Leg, error) {
		conn, err := c.connect(ctx, request.Fresh, leg)
		if err != nil {
			return nil, err
		}
		reply, err := conn.ask(ctx, request.ID, leg)
		if err != nil || request.Fresh || reply.Closing {
			conn.Close()
		} else {
			c.keep(conn)
		}
		if err != nil {
			return nil, err
		}
		return reply.Legs, nil
	})
}

func (c *tcpClient) connect(ctx context.Context, fresh bool, leg *answer.Leg) (*tcpConn, error) {
	if !fresh {
		if conn := c.take(); conn != nil {
			leg.Conn = "reused"
			return conn, nil
		}
	}
	raw, err := dial(ctx, c.address)
	if err != nil {
		return nil, err
	}
	leg.Conn = "new"
	conn := &tcpConn{Conn: raw, lines: bufio.NewReader(raw)}
	if err := conn.greet(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

func (c *tcpConn) greet(ctx context.Context) error {
	line, err := c.line(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the banner: %w", err)
	}
	nonce, found := strings.CutPrefix(line, "LEDGER ")
	if !found {
		return fmt.Errorf("%w: banner %.80q", errAnswer, line)
	}
	c.nonce = nonce
	return nil
}

func (c *tcpConn) ask(ctx context.Context, id string, leg *answer.Leg) (*answer.Answer, error) {
	if _, err := fmt.Fprintf(c, "%s %s\n", c.nonce, id); err != nil {
		return nil, err
	}
	line, err := c.line(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting for the answer: %w", err)
	}
	return accept(leg, id, line)
}

func (c *tcpConn) line(ctx context.Context) (string, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetReadDeadline(deadline); err != nil {
		return "", err
	}
	line, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (c *tcpClient) take() *tcpConn {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for len(c.idle) > 0 {
		last := len(c.idle) - 1
		conn := c.idle[last]
		c.idle = c.idle[:last]
		if conn.expiry.Stop() {
			return conn
		}
	}
	return nil
}

func (c *tcpClient) keep(conn *tcpConn) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	conn.expiry = time.AfterFunc(idleLimit, func() { c.expire(conn) })
	c.idle = append(c.idle, conn)
}

func (c *tcpClient) expire(conn *tcpConn) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for i := range c.idle {
		if c.idle[i] == conn {
			c.idle = append(c.idle[:i], c.idle[i+1:]...)
			break
		}
	}
	conn.Close()
}

func (c *tcpClient) Close() {
	for conn := c.take(); conn != nil; conn = c.take() {
		conn.Close()
	}
}
