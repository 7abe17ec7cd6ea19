package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

// way is a kind of call.
type way struct {
	name string
	// start makes what makes one call, and what ends it.
	start func(side) (call func() error, end func() error, err error)
	clock func() time.Duration // of a side that is not paced
}

var ways = []way{
	{"An HTTP request, in memory", httpInMemory, paired.Wall},
	{"An HTTP request, over loopback", httpOverLoopback, usage.CPU},
	{"A gRPC call on the client, in memory", func(s side) (func() error, func() error, error) {
		return grpcInMemory(s.client, clientCall)
	}, paired.Wall},
	{"A gRPC call on the client, over a connection in memory", func(s side) (func() error, func() error, error) {
		return grpcOverConnection(s.client, nil)
	}, usage.CPU},
	{"A gRPC call on the server, in memory", func(s side) (func() error, func() error, error) {
		return grpcInMemory(s.server, serverCall)
	}, paired.Wall},
	{"A gRPC call on the server, over a connection in memory", func(s side) (func() error, func() error, error) {
		return grpcOverConnection(nil, s.server)
	}, usage.CPU},
}

// measure makes calls one after the other.
func (w way) measure(s side, calls int) (c paired.Cost, err error) {
	if s.begin != nil {
		s.begin()
	}
	call, end, err := w.start(s)
	if err != nil {
		return paired.Cost{}, err
	}
	defer func() { err = errors.Join(err, end()) }()
	for range 10 { // connects
		if err := call(); err != nil {
			return paired.Cost{}, err
		}
	}
	if err := s.export(); err != nil {
		return paired.Cost{}, err
	}
	if c, err = s.Measure(calls, w.clock, call); err != nil {
		return paired.Cost{}, err
	}
	return c, s.complete(calls)
}

// export forgets the spans of calls that are not measured.
func (s side) export() error {
	if s.Exported == nil {
		return nil
	}
	time.Sleep(paired.Pause) // on a gRPC server a call ends after its answer
	err := s.Flush()
	s.Exported.Store(0)
	return err
}

// complete is an error if a paced side has lost spans: then it has done less than the other. The
// last call on a gRPC server may end after its answer.
func (s side) complete(calls int) error {
	if !s.Paced || s.Exported == nil {
		return nil
	}
	if got, want := s.Exported.Swap(0), int64(calls); got < want-1 || got > want {
		return fmt.Errorf("%d spans were exported, want %d", got, want)
	}
	return nil
}

func httpInMemory(s side) (call func() error, end func() error, err error) {
	answer := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{},
			Body:   io.NopCloser(strings.NewReader(`{"id":4711}`)), ContentLength: 11, Request: r,
		}, nil
	})
	client := &http.Client{Transport: s.transport(answer)}
	return get(client, "http://shop.example:8080/orders/4711?expand=items"), func() error { return nil }, nil
}

func httpOverLoopback(s side) (call func() error, end func() error, err error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":4711}`) // the client reads it
	}))
	client := &http.Client{Transport: s.transport(server.Client().Transport)}
	return get(client, server.URL+"/orders/4711?expand=items"), func() error { server.Close(); return nil }, nil
}

func get(client *http.Client, url string) func() error {
	return func() error {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		r.Header.Set("Accept", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const method = "/grpc.testing.TestService/EmptyCall"

// clientCall and serverCall are the events of a unary call, without its end.
var (
	remote     = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	clientCall = []stats.RPCStats{
		&stats.Begin{Client: true}, &stats.OutHeader{Client: true, FullMethod: method, RemoteAddr: remote,
			LocalAddr: remote},
		&stats.OutPayload{Client: true}, &stats.InHeader{Client: true}, &stats.InTrailer{Client: true},
		&stats.InPayload{Client: true},
	}
	serverCall = []stats.RPCStats{
		&stats.InHeader{FullMethod: method, RemoteAddr: remote, LocalAddr: remote}, &stats.Begin{}, &stats.InPayload{},
		&stats.OutHeader{}, &stats.OutPayload{}, &stats.OutTrailer{},
	}
)

// grpcInMemory tells a handler what gRPC would.
func grpcInMemory(handler stats.Handler, events []stats.RPCStats) (call func() error, end func() error, err error) {
	_, client := events[0].(*stats.Begin)
	info := &stats.RPCTagInfo{FullMethodName: method}
	connection := context.Background()
	if handler != nil && !client {
		connection = handler.TagConn(connection, &stats.ConnTagInfo{RemoteAddr: remote, LocalAddr: remote})
	}
	return func() error {
		ctx, cancel := context.WithCancel(connection)
		defer cancel()
		if !client {
			ctx = metadata.NewIncomingContext(ctx, metadata.MD{"user-agent": {"benchmark/1.0"}, ":authority": {"shop"}})
		}
		if handler == nil {
			return nil
		}
		ctx = handler.TagRPC(ctx, info)
		for _, event := range events {
			handler.HandleRPC(ctx, event)
		}
		now := time.Now()
		handler.HandleRPC(ctx, &stats.End{Client: client, BeginTime: now, EndTime: now})
		return nil
	}, func() error { return nil }, nil
}

type service struct {
	testpb.UnimplementedTestServiceServer
}

func (service) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func grpcOverConnection(client, server stats.Handler) (call func() error, end func() error, err error) {
	var serverOptions []grpc.ServerOption
	if server != nil {
		serverOptions = append(serverOptions, grpc.StatsHandler(server))
	}
	listener := bufconn.Listen(1 << 20)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn,
			error) {
			return listener.DialContext(ctx)
		}),
	}
	if client != nil {
		options = append(options, grpc.WithStatsHandler(client))
	}
	s := grpc.NewServer(serverOptions...)
	testpb.RegisterTestServiceServer(s, service{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///shop", options...)
	if err != nil {
		s.Stop()
		return nil, nil, errors.Join(err, <-served)
	}
	stub := testpb.NewTestServiceClient(conn)
	return func() error {
			_, err := stub.EmptyCall(context.Background(), &testpb.Empty{})
			return err
		}, func() error {
			err := conn.Close()
			s.Stop()
			return errors.Join(err, <-served)
		}, nil
}
