// Package catalogue describes the shop's gRPC service. It is written by hand over protobuf's
// well-known wrapper types, so that no generated code has to be kept.
package catalogue

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	service = "shop.Catalogue"
	look    = "/" + service + "/Look"
	watch   = "/" + service + "/Watch"
)

// Server answers the two methods. Requests carry the request id, answers the JSON of an Answer.
type Server interface {
	Look(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error)
	Watch(id *wrapperspb.StringValue, ticks grpc.ServerStreamingServer[wrapperspb.StringValue]) error
}

// Register makes server answer on registrar.
func Register(registrar grpc.ServiceRegistrar, server Server) {
	registrar.RegisterService(&description, server)
}

var description = grpc.ServiceDesc{
	ServiceName: service,
	HandlerType: (*Server)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Look", Handler: handleLook}},
	Streams:     []grpc.StreamDesc{{StreamName: "Watch", Handler: handleWatch, ServerStreams: true}},
}

func handleLook(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	id := new(wrapperspb.StringValue)
	if err := decode(id); err != nil {
		return nil, err
	}
	return server.(Server).Look(ctx, id)
}

func handleWatch(server any, stream grpc.ServerStream) error {
	id := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(id); err != nil {
		return err
	}
	typed := &grpc.GenericServerStream[wrapperspb.StringValue, wrapperspb.StringValue]{ServerStream: stream}
	return server.(Server).Watch(id, typed)
}

// Look asks once.
func Look(ctx context.Context, conn grpc.ClientConnInterface, id string, options ...grpc.CallOption) (string, error) {
	reply := new(wrapperspb.StringValue)
	err := conn.Invoke(ctx, look, wrapperspb.String(id), reply, options...)
	return reply.GetValue(), err
}

// Watch opens a stream of answers, one a second, until either side ends it.
func Watch(ctx context.Context, conn grpc.ClientConnInterface, id string) (grpc.ServerStreamingClient[wrapperspb.StringValue], error) {
	stream, err := conn.NewStream(ctx, &description.Streams[0], watch)
	if err != nil {
		return nil, err
	}
	typed := &grpc.GenericClientStream[wrapperspb.StringValue, wrapperspb.StringValue]{ClientStream: stream}
	if err := stream.SendMsg(wrapperspb.String(id)); err != nil {
		return nil, err
	}
	return typed, stream.CloseSend()
}
