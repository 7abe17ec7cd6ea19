package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/paired"
	"github.com/fleetotel/telemetry/benchmarks/internal/usage"
)

// way is how requests reach a side.
type way struct {
	name string
	// serve makes what sends one request to a handler, and what ends it.
	serve func(http.Handler) (request func() error, end func())
	clock func() time.Duration // of a side that is not paced
}

var ways = []way{
	{"In memory", inMemory, paired.Wall},
	{"Over loopback", overLoopback, usage.CPU},
}

// measure sends requests one after the other, as a connection does.
func (w way) measure(s side, requests int) (paired.Cost, error) {
	request, end := w.serve(s.handler)
	defer end()
	cost, err := s.Measure(requests, w.clock, request)
	if err != nil {
		return paired.Cost{}, err
	}
	return cost, s.complete(requests)
}

// complete is an error if a paced side has lost spans: then it has done less than the other.
func (s side) complete(requests int) error {
	if !s.Paced || s.Exported == nil {
		return nil
	}
	if got, want := s.Exported.Swap(0), int64(spansOfRequest*requests); got != want {
		return fmt.Errorf("%d spans were exported, want %d", got, want)
	}
	return nil
}

func inMemory(handler http.Handler) (request func() error, end func()) {
	return func() error {
		handler.ServeHTTP(&recorder{header: http.Header{}}, &http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: "/orders/4711", RawQuery: "expand=items"}, Host: "shop.example",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"User-Agent": {"benchmark/1.0"}},
			Body: http.NoBody, RemoteAddr: "192.0.2.1:1234",
		})
		return nil
	}, func() {}
}

// recorder is a ResponseWriter that forgets what is written.
type recorder struct{ header http.Header }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func overLoopback(handler http.Handler) (request func() error, end func()) {
	server := httptest.NewServer(handler)
	client := server.Client()
	return func() error {
		resp, err := client.Get(server.URL + "/orders/4711?expand=items")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}, server.Close
}
