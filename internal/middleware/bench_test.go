package middleware

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// silent is a ResponseWriter that forgets what is written.
type silent struct{ header http.Header }

func (w *silent) Header() http.Header             { return w.header }
func (*silent) WriteHeader(int)                   {}
func (*silent) Write(p []byte) (int, error)       { return len(p), nil }
func (*silent) WriteString(s string) (int, error) { return len(s), nil }

// serveOne serves a request with a handler that only answers.
func serveOne(h http.Handler) {
	h.ServeHTTP(&silent{http.Header{}}, &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/orders/4711"}, Host: "shop.example", Proto: "HTTP/1.1",
		ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"User-Agent": {"benchmark/1.0"},
		}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1234", Pattern: "/orders/{id}",
	})
}

var answers = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })

var samplers = map[string]sdktrace.Sampler{"unsampled": sdktrace.NeverSample(), "sampled": sdktrace.AlwaysSample()}

func BenchmarkHandler(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			serveOne(answers)
		}
	})
	for name, sampler := range samplers {
		h := NewHandler(answers, configOf(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serveOne(h)
			}
		})
	}
}

// The exchange and a copy of the request are the middleware's own, with the two headers that it
// adds; the rest are the SDK's, which makes one more for each change of a span's attributes.
func TestHandlerAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector empties pools")
	}
	plain := testing.AllocsPerRun(100, func() { serveOne(answers) })
	for name, most := range map[string]float64{"unsampled": 7, "sampled": 9} {
		h := NewHandler(answers, configOf(sdktrace.NewTracerProvider(sdktrace.WithSampler(samplers[name]))))
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { serveOne(h) })-plain, most, name)
	}
}
