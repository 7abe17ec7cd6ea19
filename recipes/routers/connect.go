package routers

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fleetotel/telemetry"
)

// The names that protoc-gen-connect-go writes.
const (
	ordersGetProcedure     = "/shop.v1.Orders/Get"
	ordersCrashProcedure   = "/shop.v1.Orders/Crash"
	ordersUpdatesProcedure = "/shop.v1.Orders/Updates"
)

type empty = emptypb.Empty

// newOrdersHandler is what protoc-gen-connect-go writes for a service.
func newOrdersHandler(opts ...connect.HandlerOption) (string, http.Handler) {
	get := connect.NewUnaryHandler(ordersGetProcedure,
		func(context.Context, *connect.Request[empty]) (*connect.Response[empty], error) {
			return connect.NewResponse(&empty{}), nil
		}, opts...)
	crash := connect.NewUnaryHandler(ordersCrashProcedure,
		func(context.Context, *connect.Request[empty]) (*connect.Response[empty], error) { panic(errCrash) }, opts...)
	updates := connect.NewServerStreamHandler(ordersUpdatesProcedure,
		func(ctx context.Context, _ *connect.Request[empty], stream *connect.ServerStream[empty]) error {
			if err := stream.Send(&empty{}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}, opts...)
	return "/shop.v1.Orders/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case ordersGetProcedure:
			get.ServeHTTP(w, r)
		case ordersCrashProcedure:
			crash.ServeHTTP(w, r)
		case ordersUpdatesProcedure:
			updates.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

func connectGo(recovered bool) http.Handler {
	var opts []connect.HandlerOption
	if recovered {
		// begin: panics
		recovering := connect.WithRecover(func(ctx context.Context, _ connect.Spec, _ http.Header, value any) error {
			telemetry.RecordPanic(ctx, value)
			return connect.NewError(connect.CodeInternal, nil)
		})
		// end: panics
		opts = append(opts, recovering)
	}
	mux := http.NewServeMux()
	path, orders := newOrdersHandler(opts...)
	mux.Handle(path, orders)
	// begin: routes
	for _, procedure := range []string{ordersGetProcedure, ordersCrashProcedure, ordersUpdatesProcedure} {
		mux.Handle(procedure, orders)
	}
	// end: routes
	// begin: streams
	handler := telemetry.Handler(mux, telemetry.WithStreamingRoutes(ordersUpdatesProcedure))
	// end: streams
	return handler
}
