package server

import (
	"context"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"meshguard.dev/testbed/shop/internal/answer"
	"meshguard.dev/testbed/shop/internal/catalogue"
	"meshguard.dev/testbed/shop/internal/client"
)

// tick is how often a Watch stream says something.
const tick = time.Second

type grpcServer struct {
	pod      string
	stopping <-chan struct{}
}

func serveGRPC(ctx context.Context, listener net.Listener, handler *grpcServer) error {
	server := grpc.NewServer()
	catalogue.Register(server, handler)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		force := time.AfterFunc(shutdownLimit, server.Stop)
		defer force.Stop()
		// GOAWAY moves the clients: no request is lost on the way, so gRPC needs no "close" before.
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	<-stopped
	return nil
}

func (s *grpcServer) Look(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return s.reply(ctx, id)
}

func (s *grpcServer) Watch(id *wrapperspb.StringValue, ticks grpc.ServerStreamingServer[wrapperspb.StringValue]) error {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		text, err := s.reply(ticks.Context(), id)
		if err != nil {
			return err
		}
		if err := ticks.Send(text); err != nil {
			return err
		}
		select {
		case <-clock.C:
		case <-ticks.Context().Done():
			return ticks.Context().Err()
		case <-s.stopping:
			return status.Error(codes.Unavailable, "the server is stopping")
		}
	}
}

func (s *grpcServer) reply(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	reply := answer.New(s.pod, id.GetValue())
	if counts := metadata.ValueFromIncomingContext(ctx, client.HeaderAttempts); len(counts) > 0 {
		// Only a proxy writes it; anything that is no number is no count.
		reply.Attempts, _ = strconv.Atoi(counts[0])
	}
	text, err := answer.Line(reply)
	return wrapperspb.String(string(text)), err
}
