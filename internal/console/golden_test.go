package console

import (
	"github.com/fleetotel/telemetry/internal/redact"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// remote is the context as it arrives over a network.
func remote(ctx context.Context) context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.SpanContextFromContext(ctx))
}

// checkout is a request that calls another server of the same process, a database, a gRPC service
// and a queue.
func checkout(ctx context.Context, w *watched) {
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xfe, 15: 1},
		SpanID: trace.SpanID{0xca, 7: 1}, TraceFlags: trace.FlagsSampled})
	ctx, server := w.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, caller), "POST /orders/{id}",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", "POST"),
			attribute.String("http.route", "/orders/{id}"), attribute.String("url.path", "/orders/17"),
			attribute.String("network.protocol.version", "1.1")))
	time.Sleep(200 * time.Microsecond)
	w.logger.InfoContext(ctx, "order received", "order", 17, "currency", "EUR")

	_, query := w.tracer.Start(ctx, "SELECT orders", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "sqlite"),
			attribute.String("db.query.text", "SELECT * FROM orders WHERE id = ? AND state IN (?, ?)")))
	time.Sleep(3 * time.Millisecond)
	query.End()

	client, call := w.tracer.Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", "GET"),
			attribute.String("url.full", "http://stock.local:8080/stock/9?secret=1")))
	time.Sleep(time.Millisecond)
	inner, stock := w.tracer.Start(remote(client), "GET /stock/{item}", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("url.path", "/stock/9")))
	time.Sleep(4 * time.Millisecond)
	w.logger.WarnContext(inner, "stock is low", "left", 2)
	stock.SetAttributes(attribute.Int("http.response.status_code", 503))
	stock.RecordError(errors.New("connection refused"))
	stock.SetStatus(codes.Error, "connection refused")
	call.SetAttributes(attribute.Int("http.response.status_code", 503), attribute.String("error.type", "503"))
	call.SetStatus(codes.Error, "")
	call.End()
	time.Sleep(30 * time.Microsecond) // a server ends its span after its client has the response
	stock.End()

	_, rpc := w.tracer.Start(ctx, "shop.Prices/Get", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("rpc.system.name", "grpc"),
			attribute.String("rpc.method", "shop.Prices/Get")))
	time.Sleep(2 * time.Millisecond)
	rpc.SetAttributes(attribute.String("rpc.response.status_code", "UNAVAILABLE"),
		attribute.String("error.type", "UNAVAILABLE"))
	rpc.SetStatus(codes.Error, "no connection")
	rpc.End()

	_, send := w.tracer.Start(ctx, "send", trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithLinks(trace.Link{SpanContext: caller}),
		trace.WithAttributes(attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.destination.name", "orders"), attribute.Int("tenant", 7)))
	send.AddEvent("flushed", trace.WithAttributes(attribute.Int("bytes", 512)))
	time.Sleep(500 * time.Microsecond)
	send.End()
	server.SetAttributes(attribute.Int("http.response.status_code", 502))
	server.SetStatus(codes.Error, "")
	server.End()
}

func TestTree(t *testing.T) {
	for _, width := range []int{50, 80, 120} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			output := scenario(t, width, false, defaultLimits, checkout)
			requireGolden(t, output)
			requireWidth(t, output, width)
			require.NotContains(t, output, "secret", "a query string may hold one")
		})
	}
	t.Run("color", func(t *testing.T) {
		requireGolden(t, scenario(t, 80, true, defaultLimits, checkout))
	})
}

// TestColorIsAllThatColorAdds also proves that each sequence is closed.
func TestColorIsAllThatColorAdds(t *testing.T) {
	colored := scenario(t, 80, true, defaultLimits, checkout)
	for row := range strings.Lines(colored) {
		require.Equal(t, strings.Count(row, "\x1b[0m")*2, strings.Count(row, "\x1b["), row)
	}
	bare := strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m",
		"", "\x1b[36m", "").Replace(colored)
	var trimmed strings.Builder
	for row := range strings.Lines(bare) {
		trimmed.WriteString(strings.TrimRight(row, " \n") + "\n")
	}
	require.Equal(t, scenario(t, 80, false, defaultLimits, checkout), trimmed.String())
}

func TestHostileText(t *testing.T) {
	output := scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
		long := strings.Repeat("very-", 100)
		ctx, root := w.tracer.Start(ctx, "清算サービス 🧾 "+strings.Repeat("支払い", 20),
			trace.WithAttributes(attribute.String(long, long)))
		_, evil := w.tracer.Start(ctx, "\x1b[2J\x1b]0;owned\x07 name\r\nTRACE\u202eecart", trace.WithAttributes(
			attribute.String("key\x1b[31m", "two\nlines"), attribute.String("bad", "\xff\xfe")))
		w.logger.InfoContext(ctx, "message\x1b[31m with\nlines\tand \x00", "k\nv", "a\u0085b", "quote", `say "hi" now`,
			"empty", "")
		w.logger.InfoContext(ctx, long)
		evil.AddEvent("e\x1b[H", trace.WithAttributes(attribute.String("x\ny", "\x9b31m")))
		evil.RecordError(errors.New("first\nsecond\x1b[0m"))
		evil.SetStatus(codes.Error, "status\n\x1b[1m")
		evil.End()
		time.Sleep(time.Millisecond)
		root.End()
	})
	requireGolden(t, output)
	for _, r := range output {
		require.True(t, r == '\n' || r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0) && r != '\u202e', "%q", r)
	}
	_, tree, _ := strings.Cut(output, "TRACE 0")
	requireWidth(t, tree, 80)
}

func TestDeepTree(t *testing.T) {
	for _, width := range []int{40, 80} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			output := scenario(t, width, false, defaultLimits, func(ctx context.Context, w *watched) {
				var open []trace.Span
				for i := range 25 {
					var span trace.Span
					ctx, span = w.tracer.Start(ctx, fmt.Sprint("level ", i))
					open = append(open, span)
					time.Sleep(time.Millisecond)
				}
				w.logger.InfoContext(ctx, "at the bottom")
				for i := range open {
					open[len(open)-1-i].End()
				}
			})
			requireGolden(t, output)
			requireWidth(t, output, width)
		})
	}
}

// TestHang is what a person sees of a request that does not come back: a line after 5, 10, 20 s,
// and at the end the tree.
func TestHang(t *testing.T) {
	output := scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
		ctx, root := w.tracer.Start(ctx, "POST /orders", trace.WithSpanKind(trace.SpanKindServer))
		_, fast := w.tracer.Start(ctx, "validate")
		fast.End()
		call, client := w.tracer.Start(ctx, "GET", trace.WithSpanKind(trace.SpanKindClient))
		time.Sleep(4999 * time.Millisecond)
		require.Empty(t, w.String(), "nothing is said before 5 s")
		_, other := w.tracer.Start(ctx, "refresh cache")
		_, step := w.tracer.Start(call, "wait for lock")
		time.Sleep(20 * time.Second)
		step.End()
		other.End()
		client.End()
		root.End()
		time.Sleep(time.Hour)
	})
	requireGolden(t, output)
	require.Equal(t, 3, strings.Count(output, "WAIT"))
}

// TestLateSpans: a span that outlives its root is waited for a moment, and printed by itself when
// it takes longer.
func TestLateSpans(t *testing.T) {
	requireGolden(t, scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
		ctx, root := w.tracer.Start(ctx, "GET /")
		_, soon := w.tracer.Start(ctx, "ends soon after")
		mail, late := w.tracer.Start(ctx, "send mail")
		w.logger.InfoContext(mail, "before the root ends")
		root.End()
		time.Sleep(settle - time.Millisecond)
		soon.End()
		time.Sleep(2 * time.Millisecond)
		w.logger.InfoContext(mail, "after the root has ended")
		_, dial := w.tracer.Start(mail, "dial", trace.WithSpanKind(trace.SpanKindClient))
		time.Sleep(time.Second)
		dial.End()
		late.SetStatus(codes.Error, "no such host")
		late.End()
		_, after := w.tracer.Start(ctx, "began after everything")
		after.End()
	}))
}

func TestShutdownPrintsWhatIsUnfinished(t *testing.T) {
	requireGolden(t, scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
		ctx, _ = w.tracer.Start(ctx, "consume", trace.WithSpanKind(trace.SpanKindConsumer))
		_, done := w.tracer.Start(ctx, "decode")
		time.Sleep(time.Millisecond)
		done.End()
		_, span := w.tracer.Start(ctx, "store", trace.WithAttributes(attribute.Int("order", 17)))
		span.AddEvent("retry")
		time.Sleep(time.Millisecond)
		require.NoError(t, w.provider.ForceFlush(ctx))
		require.Empty(t, w.String(), "a flush does not cut a trace short")
	}))
}

// TestMasking: what is masked is neither in the lines about what hangs nor in the trees, those of
// open spans included. TestFilter has requests that are fast, slow, failed, failed below, hanging,
// and open at the end.
func TestFilter(t *testing.T) {
	shown := func(f Filter) string {
		return scenario(t, 80, false, defaultLimits, func(ctx context.Context, w *watched) {
			w.traces.Showing(f)
			request := func(name string, took time.Duration, failed bool) {
				ctx, root := w.tracer.Start(ctx, name)
				_, child := w.tracer.Start(ctx, "child")
				time.Sleep(took)
				if failed {
					child.SetStatus(codes.Error, "no")
				}
				child.End()
				root.End()
			}
			request("fast", time.Millisecond, false)
			request("slow", 500*time.Millisecond, false)
			request("failed", time.Millisecond, true)
			_, root := w.tracer.Start(ctx, "hanging")
			time.Sleep(hangAfter + time.Millisecond)
			root.SetStatus(codes.Error, "")
			root.End()
			_, _ = w.tracer.Start(ctx, "unfinished")
		})
	}
	for _, tt := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{"fast", "slow", "failed", "hanging", "unfinished"}},
		{Filter{Errors: true}, []string{"failed", "hanging", "unfinished"}},
		{Filter{Slow: 500 * time.Millisecond}, []string{"slow", "hanging", "unfinished"}},
		{Filter{Errors: true, Slow: 500 * time.Millisecond}, []string{"slow", "failed", "hanging", "unfinished"}},
		{Filter{Slow: time.Hour}, []string{"unfinished"}},
	} {
		output := shown(tt.filter)
		for _, name := range []string{"fast", "slow", "failed", "unfinished"} {
			require.Equal(t, slices.Contains(tt.want, name), strings.Contains(output, "\n"+name+" ") ||
				strings.Contains(output, "\n✗ "+name+" "), "%+v: %s\n%s", tt.filter, name, output)
		}
		require.Contains(t, output, "hanging", "what hangs is said at once")
	}
}

func TestMasking(t *testing.T) {
	const card = "4111111111111111"
	r := redact.New(redact.Config{})
	output := scenario(t, 120, false, defaultLimits, func(ctx context.Context, w *watched) {
		w.traces.Masking(func(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
			one := []sdktrace.ReadOnlySpan{span}
			r.Spans(one)
			return one[0]
		})
		secrets := trace.WithAttributes(attribute.String("password", "hunter2"))
		ctx, root := w.tracer.Start(ctx, "root "+card, secrets)
		_, child := w.tracer.Start(ctx, "child "+card, secrets)
		child.AddEvent("event "+card, secrets)
		child.SetStatus(codes.Error, "status "+card)
		time.Sleep(6 * time.Second)
		root.End() // the child becomes a tree of its own
		time.Sleep(time.Second)
		ctx, _ = w.tracer.Start(context.Background(), "never "+card, secrets)
		_, done := w.tracer.Start(ctx, "done "+card, secrets)
		done.End()
	})
	require.NotContains(t, output, card)
	require.NotContains(t, output, "hunter2")
	for _, text := range []string{
		"WAIT  00000001 root [redacted] has been running for 5s, now in child [redacted] for 5s\n",
		"root [redacted] password=[redacted]", "child [redacted] password=[redacted] unfinished",
		"event [redacted] password=[redacted]", "status [redacted]",
		"LATE", "never [redacted] password=[redacted] unfinished", "done [redacted] password=[redacted]",
	} {
		require.Contains(t, output, text)
	}
}
