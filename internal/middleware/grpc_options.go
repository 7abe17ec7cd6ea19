package middleware

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// NewServerOptions returns the options of telemetry.ServerOptions. They include interceptors,
// because a stats handler cannot set the trailer of a call that fails.
func NewServerOptions(c HandlerConfig) []grpc.ServerOption {
	options := []grpc.ServerOption{grpc.StatsHandler(NewServerHandler(c))}
	if c.Public {
		return options
	}
	return append(options, grpc.ChainUnaryInterceptor(tellUnary), grpc.ChainStreamInterceptor(tellStream))
}

// decisionKey is Server-Timing in the spelling of gRPC metadata.
const decisionKey = "server-timing"

func tellUnary(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, serve grpc.UnaryHandler,
) (answer any, err error) {
	returned := false
	defer func() {
		if md := decisionOn(ctx, err, returned); md != nil {
			_ = grpc.SetTrailer(ctx, md) // fails if the call has ended
		}
	}()
	answer, err = serve(ctx, request)
	returned = true
	return answer, err
}

func tellStream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) (err error) {
	returned := false
	defer func() {
		if md := decisionOn(stream.Context(), err, returned); md != nil {
			stream.SetTrailer(md)
		}
	}()
	err = serve(server, stream)
	returned = true
	return err
}

// decisionOn returns the trailer that tells the caller to keep its trace, or nil if the trace is
// not kept.
func decisionOn(ctx context.Context, err error, returned bool) metadata.MD {
	call, ok := ctx.Value(serverCallKey{}).(*serverCall)
	if !ok || !call.sampled.IsCalled() {
		return nil
	}
	s, isStatus := status.FromError(err)
	if !isStatus {
		s = status.FromContextError(err) // as the server does
	}
	failed := !returned || isServerError(s.Code())
	threshold, ok := call.sampled.Commit(call.span, time.Since(call.begin), failed)
	if !ok {
		return nil
	}
	return metadata.Pairs(decisionKey, decisionEntry(call.span.SpanContext(), threshold))
}
