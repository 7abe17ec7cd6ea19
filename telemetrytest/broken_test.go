package telemetrytest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

// TestABrokenServiceFailsWithItsTrace has a service that loses the trace on its way to the card,
// and its test as a service would write it, run by go test.
func TestABrokenServiceFailsWithItsTrace(t *testing.T) {
	if !isChild() {
		output := failingChild(t)
		require.Regexp(t, `--- FAIL: TestABrokenServiceFailsWithItsTrace \(.*s\)
(    time=.*\n)*    broken_test.go:\d+: telemetrytest: span "POST /orders/\{id\}" has no child "charge card" within \S+s \(all that has ended has arrived, and no span is open\)
\s+trace [0-9a-f]{32}
        POST /orders/\{id\}  server  \S+s  <--
(             .*\n)*             log INFO "order placed" order.id=7
\s+another trace has such a span
\s+trace [0-9a-f]{32}
        charge card  internal  \S+s  <--
`, output)
		require.NotContains(t, output, "panic")
		return
	}

	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx := context.Background() // the bug
		_, span := rec.Guard.TracerProvider().Tracer("shop").Start(ctx, "charge card")
		span.End()
		rec.Guard.Logger().InfoContext(r.Context(), "order placed", "order.id", 7)
	})
	post(telemetry.Handler(mux, telemetry.WithGuard(rec.Guard)), "/orders/7")

	rec.RequireSpan(t, "POST /orders/{id}", attribute.String("http.route", "/orders/{id}")).RequireChild(t,
		"charge card")
}
