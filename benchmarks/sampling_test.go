// Package benchmarks compares the library with others. Run it with GOWORK=off.
package benchmarks

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/samplers/jaegerremote"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

const operations = 32

// jaeger starts a jaegerremote sampler with the strategy that a server hands out.
func jaeger(tb testing.TB, strategy any) sdktrace.Sampler {
	fetched := make(chan struct{}, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(strategy); err != nil {
			tb.Error(err)
		}
		select {
		case fetched <- struct{}{}:
		default:
		}
	}))
	tb.Cleanup(server.Close)
	sampler := jaegerremote.New("shop", jaegerremote.WithSamplingServerURL(server.URL),
		jaegerremote.WithSamplingRefreshInterval(50*time.Millisecond))
	tb.Cleanup(sampler.Close)
	for range 2 { // the second fetch follows the first one's update
		select {
		case <-fetched:
		case <-time.After(10 * time.Second):
			require.Fail(tb, "the strategy was never fetched")
		}
	}
	return sampler
}

func perOperation() any {
	var list []map[string]any
	for i := range operations {
		list = append(list, map[string]any{"operation": name(i),
			"probabilisticSampling": map[string]any{"samplingRate": 0.01}})
	}
	return map[string]any{"strategyType": "PROBABILISTIC", "operationSampling": map[string]any{
		"defaultSamplingProbability": 0.01, "defaultLowerBoundTracesPerSecond": 0.1, "perOperationStrategies": list,
	}}
}

func rateLimiting() any {
	return map[string]any{"strategyType": "RATE_LIMITING",
		"rateLimitingSampling": map[string]any{"maxTracesPerSecond": 50}}
}

func name(i int) string { return fmt.Sprintf("GET /api/v1/operation-%d", i) }

func adaptive(tb testing.TB) sdktrace.Sampler {
	s, err := telemetry.NewAdaptiveSampler(telemetry.Sampling{})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func rivals(tb testing.TB) map[string]sdktrace.Sampler {
	return map[string]sdktrace.Sampler{
		"adaptive":                   adaptive(tb),
		"stock parentbased ratio":    sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)),
		"jaegerremote per operation": jaeger(tb, perOperation()),
		"jaegerremote rate limit":    jaeger(tb, rateLimiting()),
	}
}

// source makes sampling parameters of roots.
type source struct {
	params [operations]sdktrace.SamplingParameters
	state  uint64
}

func newSource() *source {
	s := &source{state: 88172645463325252}
	for i := range s.params {
		s.params[i] = sdktrace.SamplingParameters{
			ParentContext: context.Background(), Name: name(i), Kind: trace.SpanKindServer,
			Attributes: []attribute.KeyValue{
				attribute.String("http.request.method", "GET"), attribute.String("url.scheme", "http"),
				attribute.String("server.address", "localhost"), attribute.Int("server.port", 8080),
				attribute.String("url.path", "/api/v1/operation"), attribute.String("user_agent.original", "curl"),
			},
		}
	}
	return s
}

func (s *source) next() *sdktrace.SamplingParameters {
	s.state ^= s.state << 13
	s.state ^= s.state >> 7
	s.state ^= s.state << 17
	p := &s.params[s.state%operations]
	binary.LittleEndian.PutUint64(p.TraceID[:8], s.state)
	binary.LittleEndian.PutUint64(p.TraceID[8:], s.state*0x9e3779b97f4a7c15)
	return p
}

// BenchmarkSampler decides roots of 32 operations.
//
//	cd benchmarks && GOWORK=off go test -run '^$' -bench Sampler -cpu 1,2 -count 6
func BenchmarkSampler(b *testing.B) {
	for rival, sampler := range rivals(b) {
		b.Run(rival, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				s := newSource()
				for pb.Next() {
					sampler.ShouldSample(*s.next())
				}
			})
		})
	}
}

// TestSamplerCost takes turns and reports the best of many short rounds, which is what a quiet
// machine would show.
//
//	cd benchmarks && GOWORK=off go test -run SamplerCost -v
func TestSamplerCost(t *testing.T) {
	const rounds, calls = 40, 10_000
	all, best := rivals(t), map[string]time.Duration{}
	s := newSource()
	for range rounds {
		for rival, sampler := range all {
			start := time.Now()
			for range calls {
				sampler.ShouldSample(*s.next())
			}
			if d := time.Since(start); best[rival] == 0 || d < best[rival] {
				best[rival] = d
			}
		}
	}
	for rival, d := range best {
		t.Logf("%-28s %6.1f ns, adaptive is %.2f of it", rival, float64(d)/calls, float64(best["adaptive"])/float64(d))
	}
	require.Less(t, best["adaptive"], best["jaegerremote per operation"])
}
