package client

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/catalogue"
)

type grpcClient struct {
	edge    string
	address string
	kept    *grpc.ClientConn
	// last is the local address of the connection that served the previous call.
	last atomic.Value
}

func newGRPC(edge, address string) (*grpcClient, error) {
	kept, err := DialGRPC(address)
	if err != nil {
		return nil, err
	}
	return &grpcClient{edge: edge, address: address, kept: kept}, nil
}

// DialGRPC returns a connection that resolves address anew each time it has to connect. gRPC's own
// transparent retry stays: it only covers requests that the server says it has not looked at.
func DialGRPC(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy())
}

func (c *grpcClient) Call(ctx context.Context, request Request) []answer.Leg {
	return measure(c.edge, "grpc", func(leg *answer.Leg) ([]answer.Leg, error) {
		conn := c.kept
		if request.Fresh {
			fresh, err := DialGRPC(c.address)
			if err != nil {
				return nil, err
			}
			defer fresh.Close()
			conn = fresh
		}
		var callee peer.Peer
		ctx := metadata.AppendToOutgoingContext(ctx, HeaderID, request.ID)
		text, err := catalogue.Look(ctx, conn, request.ID, grpc.Peer(&callee))
		leg.Conn = c.connection(callee.LocalAddr, request.Fresh)
		if err != nil {
			leg.Status = int(status.Code(err))
			return nil, statusError{err}
		}
		reply, err := accept(leg, request.ID, text)
		if err != nil {
			return nil, err
		}
		return reply.Legs, nil
	})
}

func (c *grpcClient) connection(local net.Addr, fresh bool) string {
	switch {
	case local == nil:
		return ""
	case fresh || c.last.Swap(local.String()) != local.String():
		return "new"
	}
	return "reused"
}

func (c *grpcClient) Close() { c.kept.Close() }

// statusError makes a gRPC status an error that class understands.
type statusError struct{ error }

func (e statusError) Is(target error) bool {
	switch status.Code(e.error) {
	case codes.DeadlineExceeded:
		return target == context.DeadlineExceeded
	case codes.Canceled:
		return target == context.Canceled
	}
	return target == errStatus
}
