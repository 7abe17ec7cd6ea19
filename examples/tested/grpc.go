package tested

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fleetotel/telemetry"
)

// NewServer serves the warehouse over gRPC.
func (w *Warehouse) NewServer() *grpc.Server {
	server := grpc.NewServer(telemetry.ServerOptions(telemetry.WithGuard(w.guard))...)
	server.RegisterService(&warehouseService, w)
	return server
}

// warehouseService is what protoc would generate, for one method.
var warehouseService = grpc.ServiceDesc{
	ServiceName: "warehouse.Warehouse",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Reserve",
		Handler: func(w any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			item := new(wrapperspb.StringValue)
			if err := decode(item); err != nil {
				return nil, err
			}
			if err := w.(*Warehouse).reserve(ctx, item.Value, 1); errors.Is(err, errSoldOut) {
				return nil, status.Error(codes.FailedPrecondition, err.Error())
			} else if err != nil {
				return nil, err
			}
			return new(emptypb.Empty), nil
		},
	}},
}
