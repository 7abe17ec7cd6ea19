package telemetrytest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// leak starts a span and forgets it.
func leak(ctx context.Context, r *telemetrytest.Recorder, name string) context.Context {
	ctx, _ = r.Guard.TracerProvider().Tracer("shop").Start(ctx, name)
	return ctx
}

func TestLeakedSpansAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		r.RequireNoLeakedSpans(tb)
		ctx := leak(context.Background(), r, "charge card")
		_, child := r.Guard.TracerProvider().Tracer("shop").Start(ctx, "child")
		child.End()
		leak(ctx, r, "refund")
		r.RequireNoLeakedSpans(tb)
	})
	require.Regexp(t, `^telemetrytest: 2 spans not ended within \S+s: add defer span.End\(\) after each Start
    "charge card", started at \S+/leaks_test.go:17 in telemetrytest_test.leak
    "refund", started at \S+/leaks_test.go:17 in telemetrytest_test.leak

trace [0-9a-f]{32}
charge card  internal  not ended, started at \S+/leaks_test.go:17 in telemetrytest_test.leak
├─ child  internal  \S+s
└─ refund  internal  not ended, started at \S+ in \S+$`, message)
}

// TestLeaksBehindMiddleware has spans that nobody in the service has started by hand.
func TestLeaksBehindMiddleware(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		client := http.Client{Transport: telemetry.Transport(nil, telemetry.WithGuard(r.Guard))}
		server := httptest.NewServer(telemetry.Handler(http.NotFoundHandler(), telemetry.WithGuard(r.Guard)))
		defer server.Close()
		response, err := client.Get(server.URL)
		require.NoError(t, err)
		defer response.Body.Close() // too late: the span of a client lasts until then
		r.RequireNoLeakedSpans(tb)
	})
	require.Regexp(t, `1 span not ended within .*\n    "GET", started at \S+/leaks_test.go:\d+ in telemetrytest_test.TestLeaksBehindMiddleware`, message)

	ended := make(chan struct{})
	message = failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		server := httptest.NewServer(telemetry.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-ended
		}), telemetry.WithGuard(r.Guard)))
		defer server.Close()
		defer close(ended)
		go func() {
			if response, err := http.Get(server.URL); err == nil {
				_ = response.Body.Close()
			}
		}()
		require.Eventually(t, func() bool { return r.HasOpenSpans() }, waitFor, tick)
		r.RequireNoLeakedSpans(tb)
	})
	require.Regexp(t, `1 span not ended within .*\n    "GET", started at \S+/net/http/server.go:\d+ in http\.`, message)
}

// TestASpanThatIsOpenIsShown explains why what is asked for has not arrived.
func TestASpanThatIsOpenIsShown(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		ctx, root := r.Guard.TracerProvider().Tracer("shop").Start(context.Background(), "order")
		leak(ctx, r, "charge card")
		root.End()
		r.RequireSpan(tb, "order").RequireChild(tb, "charge card")
	})
	require.Regexp(t, `span "order" has no child "charge card" within \S+s

trace \S+
order  internal  \S+s  <--
└─ charge card  internal  not ended, started at \S+/leaks_test.go:17 in `, message)
}
