package middleware

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// transportOf records spans and keeps what it was sent.
func transportOf(base baseFunc) (*transport, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	return NewTransport(base, Edge{Source: guard{tracing: tracing}}).(*transport), spans
}

func TestSetsOfATransportAreBounded(t *testing.T) {
	transport, spans := transportOf(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	for i := range maxCached + 1 {
		r := &http.Request{URL: &url.URL{Scheme: "http", Host: fmt.Sprintf("hook-%d.example", i), Path: "/"}}
		_, err := transport.RoundTrip(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	require.Len(t, spans.Ended(), maxCached+1)
	require.Len(t, *transport.metrics.outcomes.entries.Load(), maxCached)
}

func TestHostOfAMeasurementIsBounded(t *testing.T) {
	transport, _ := transportOf(nil)
	for _, length := range []int{maxHost, maxHost + 1} {
		transport.metrics.outcome(clientTarget{host: strings.Repeat("h", length), port: 80}, answer{status: 200})
	}
	outcomes := *transport.metrics.outcomes.entries.Load()
	require.Len(t, outcomes, 1, "one past the bound is cut to it")
	for key := range outcomes {
		require.Len(t, key.host, maxHost)
	}
}

func TestClientLabelerKeyIsOtelhttps(t *testing.T) {
	labels := &otelhttp.Labeler{}
	require.Same(t, labels, otelhttp.ContextWithClientLabeler(t.Context(), labels).Value(clientLabelerKey))
	require.NotEqual(t, labelerKey, clientLabelerKey)
}

// The base may panic, and its span ends all the same.
func TestSpanOfAPanickingBaseEnds(t *testing.T) {
	transport, spans := transportOf(func(*http.Request) (*http.Response, error) { panic("no route") })
	require.PanicsWithValue(t, "no route", func() {
		_, _ = transport.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "shop"}})
	})
	require.Len(t, spans.Ended(), 1)
	require.Equal(t, codes.Error, spans.Ended()[0].Status().Code)
}

// What a careless base does to the request stays with the copy.
func TestABaseMayChangeTheHeader(t *testing.T) {
	transport, _ := transportOf(func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Authorization", "secret")
		r.Header.Add("Accept", "text/plain")
		r.Header.Del("X-Order")
		return nil, io.ErrUnexpectedEOF
	})
	accept := append(make([]string, 0, 2), "application/json")
	r := &http.Request{URL: &url.URL{Scheme: "http", Host: "shop"},
		Header: http.Header{"Accept": accept, "X-Order": {"7"}}}
	_, err := transport.RoundTrip(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, http.Header{"Accept": {"application/json"}, "X-Order": {"7"}}, r.Header)
}

// A host that is kept must not keep a URL of a megabyte.
func TestHostDoesNotRetainTheURL(t *testing.T) {
	target, err := url.Parse("http://shop.example/?q=" + strings.Repeat("x", 1<<20))
	require.NoError(t, err)
	transport, spans := transportOf(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	_, err = transport.RoundTrip(&http.Request{URL: target})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	set := attribute.NewSet(spans.Ended()[0].Attributes()...)
	host, _ := set.Value("server.address")
	require.Equal(t, "shop.example", host.AsString())
	require.False(t, unsafe.StringData(host.AsString()) == unsafe.StringData(target.Host))
}

// upgraded is the body of an answer that switches protocols; half is what closing one direction
// says.
type upgraded struct {
	io.ReadWriteCloser
	half error
}

func (u upgraded) CloseWrite() error { return u.half }

// Code asks a response body for further abilities by a type assertion.
func TestBodyHasTheAbilitiesOfTheBases(t *testing.T) {
	plain, writable := io.NopCloser(strings.NewReader("")), struct{ io.ReadWriteCloser }{}
	for _, body := range []io.ReadCloser{plain, writable, upgraded{}} {
		transport, _ := transportOf(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: body}, nil
		})
		response, err := transport.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "shop"}})
		require.NoError(t, err)
		_, writes := body.(io.Writer)
		_, halfCloses := body.(writeCloser)
		_, weWrite := response.Body.(io.Writer)
		_, weHalfClose := response.Body.(writeCloser)
		require.Equal(t, [2]bool{writes, halfCloses}, [2]bool{weWrite, weHalfClose}, "%T", body)
	}
}

func TestAHalfCloseThatFails(t *testing.T) {
	for half, status := range map[error]codes.Code{
		io.ErrClosedPipe: codes.Error, fmt.Errorf("CloseWrite: %w", http.ErrNotSupported): codes.Unset,
	} {
		client, server := net.Pipe()
		require.NoError(t, server.Close())
		transport, spans := transportOf(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: upgraded{client, half}}, nil
		})
		response, err := transport.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "shop"}})
		require.NoError(t, err)
		require.ErrorIs(t, response.Body.(writeCloser).CloseWrite(), half)
		require.Empty(t, spans.Ended(), "the peer may still answer")
		require.NoError(t, response.Body.Close())
		require.Equal(t, status, spans.Ended()[0].Status().Code)
	}
}
