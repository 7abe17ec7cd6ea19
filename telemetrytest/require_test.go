package telemetrytest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/telemetrytest"
)

var (
	route       = attribute.String("http.route", "/orders")
	serverSpan  = trace.WithSpanKind(trace.SpanKindServer)
	clientSpan  = trace.WithSpanKind(trace.SpanKindClient)
	inWarehouse = trace.WithAttributes(attribute.Int("warehouse", 3))
	declined    = metric.WithAttributes(attribute.String("outcome", "declined"))
)

func TestWhatArrivedCanBeAskedFor(t *testing.T) {
	r := parallel(t)
	before := time.Now()
	order(r.Guard)

	root := r.RequireSpan(t, "POST /orders", route)
	root.RequireAttributes(t, route)
	root.RequireStatus(t, codes.Unset, "")
	require.Equal(t, trace.SpanKindServer, root.Kind)
	require.Equal(t, telemetrytest.Scope{Name: "shop"}, root.Scope)
	require.Equal(t, "test", root.Resource["service.name"])
	require.Nil(t, root.Parent())
	require.Empty(t, root.ParentSpanID)
	require.False(t, root.Start.Before(before.Truncate(0)))
	require.Positive(t, root.Duration())

	require.Equal(t, "POST /orders\n  check_stock\n  charge card\n", root.Trace().Outline())
	require.Len(t, root.Trace().Spans, 3)
	require.Equal(t, []*telemetrytest.Span{root}, root.Trace().Roots)
	require.Len(t, r.Traces(), 1)
	require.Equal(t, []string{"POST /orders", "check_stock", "charge card"}, names(r.Spans()))
	require.Len(t, r.Spans("check_stock", "charge card", "no such"), 2)
	require.Empty(t, r.Spans("no such"))

	check := root.RequireChild(t, "check_stock")
	require.Equal(t, root.SpanID, check.Parent().SpanID)
	require.Equal(t, root.TraceID, check.TraceID)
	require.EqualValues(t, 3, check.RequireEvent(t, "reserved", attribute.Int("warehouse", 3)).Attributes["warehouse"])
	root.RequireChild(t, "charge card").RequireStatus(t, codes.Error, "card declined")

	low := check.RequireLog(t, "stock is low", attribute.Int("left", 1))
	require.Equal(t, log.SeverityWarn, low.Severity)
	require.Equal(t, check.SpanID, low.SpanID)
	require.Equal(t, low, r.RequireLog(t, "stock is low"))
	require.Len(t, root.Logs, 1)
	require.Len(t, root.Trace().Logs, 2)
	require.Len(t, r.Logs(), 2)

	orders := r.RequireMetric(t, "orders", attribute.String("outcome", "declined"))
	require.Equal(t, 1.0, orders.Total())
	require.True(t, orders.Monotonic)
	require.Len(t, r.Metrics(), 1, "the service's own alone")
	r.RequireNoLeakedSpans(t)
}

func TestLinksAndTraces(t *testing.T) {
	r := parallel(t)
	tracer := r.Guard.TracerProvider().Tracer("shop")
	ctx, message := tracer.Start(t.Context(), "publish")
	message.End()
	_, batch := tracer.Start(t.Context(), "consume",
		trace.WithLinks(trace.LinkFromContext(ctx, attribute.Bool("late", true))))
	batch.End()
	link := r.RequireSpan(t, "consume").Links[0]
	publish := r.RequireSpan(t, "publish")
	require.Equal(t, telemetrytest.Link{TraceID: publish.TraceID, SpanID: publish.SpanID,
		Attributes: map[string]any{"late": true}}, link)
	traces := r.Traces()
	require.Len(t, traces, 2)
	require.Equal(t, publish.TraceID, traces[0].ID, "in the order of their begin")
	require.Contains(t, traces[1].String(), "link to span "+publish.SpanID+" of trace "+publish.TraceID+" late=true")
}

func TestMetrics(t *testing.T) {
	r := parallel(t)
	meter := r.Guard.MeterProvider().Meter("shop")
	counter, err := meter.Float64Counter("revenue", metric.WithUnit("EUR"))
	require.NoError(t, err)
	gauge, err := meter.Int64Gauge("stock")
	require.NoError(t, err)
	histogram, err := meter.Float64Histogram("order.value")
	require.NoError(t, err)
	with := func(value string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String("shop", value), attribute.Bool("online", true))
	}
	counter.Add(t.Context(), 10, with("a"))
	counter.Add(t.Context(), 5, with("a"))
	counter.Add(t.Context(), 1.5, with("b"))
	gauge.Record(t.Context(), 9)
	gauge.Record(t.Context(), 4)
	for _, v := range []float64{1, 2, 3} {
		histogram.Record(t.Context(), v, with("a"))
	}
	histogram.Record(t.Context(), 10, with("b"))

	online := attribute.Bool("online", true)
	require.Equal(t, 16.5, r.RequireMetric(t, "revenue", online).Total())
	require.Equal(t, 15.0, r.RequireMetric(t, "revenue", online, attribute.String("shop", "a")).Total())
	require.Equal(t, "EUR", r.RequireMetric(t, "revenue").Unit)
	require.Equal(t, 4.0, r.RequireMetric(t, "stock").Last())
	values := r.RequireMetric(t, "order.value")
	require.EqualValues(t, 4, values.Count())
	require.Equal(t, 16.0, values.Total())
	require.EqualValues(t, 3, r.RequireMetric(t, "order.value", attribute.String("shop", "a")).Count())

	counter.Add(t.Context(), 100, with("b"))
	require.Equal(t, 116.5, r.RequireMetric(t, "revenue").Total(),
		"asked again, it is up to date, and not added up twice")
	require.Zero(t, telemetrytest.Metric{}.Last())
}

func TestEveryKindOfAttributeCanBeRequired(t *testing.T) {
	r := parallel(t)
	attributes := []attribute.KeyValue{
		attribute.String("text", "a b"), attribute.Int("int", 3), attribute.Float64("float", 1.5),
		attribute.Bool("bool", true),
		attribute.StringSlice("texts", []string{"a", "b"}), attribute.IntSlice("ints", []int{1, 2}),
		attribute.Float64Slice("floats", []float64{1, 2}), attribute.BoolSlice("bools", []bool{true}),
		attribute.StringSlice("none", nil), {Key: "bytes", Value: attribute.ByteSliceValue([]byte{1})},
		{Key: "mixed", Value: attribute.SliceValue(attribute.StringValue("a"), attribute.Int64Value(1))},
		{Key: "map", Value: attribute.MapValue(attribute.Int("one", 1))},
	}
	_, span := r.Guard.TracerProvider().Tracer("shop").Start(t.Context(), "all", trace.WithAttributes(attributes...))
	span.End()
	arrived := r.RequireSpan(t, "all", attributes...)
	arrived.RequireAttributes(t, attributes...)
	require.Len(t, arrived.Attributes, len(attributes))
}

// TestASpanThatEndsLaterIsWaitedFor is a server that answers before its span ends.
func TestASpanThatEndsLaterIsWaitedFor(t *testing.T) {
	r := parallel(t)
	tracer := r.Guard.TracerProvider().Tracer("shop")
	answered := make(chan struct{})
	go func() {
		ctx, root := tracer.Start(context.Background(), "request")
		_, child := tracer.Start(ctx, "child")
		close(answered)
		root.End()
		time.Sleep(50 * time.Millisecond) // the kit has to wait for something
		r.Guard.Logger().InfoContext(ctx, "after the answer")
		child.End()
	}()
	<-answered
	root := r.RequireSpan(t, "request")
	root.RequireChild(t, "child")
	root.RequireLog(t, "after the answer")
	r.RequireNoLeakedSpans(t)
}

// TestFailuresShowTheTrace has one test for each way to fail.
func TestFailuresShowTheTrace(t *testing.T) {
	t.Parallel()
	tree := []string{
		"\ntrace ",
		"\nPOST /orders  server  ", "\n│    http.route=/orders\n", "\n│    log INFO \"order received\" order.id=7\n",
		"\n├─ check_stock  internal  ", "\n│       event reserved\n│         warehouse=3\n",
		"\n│       log WARN \"stock is low\" left=1\n",
		"\n└─ charge card  client  ", "s  Error: \"card declined\"",
	}
	for name, tc := range map[string]struct {
		ask  func(testing.TB, *telemetrytest.Recorder)
		want string
	}{
		"no such span": {
			func(tb testing.TB, r *telemetrytest.Recorder) { r.RequireSpan(tb, "refund", attribute.Int("n", 1)) },
			`no span "refund" with n=1 arrived within `,
		},
		"too many spans": {
			func(tb testing.TB, r *telemetrytest.Recorder) { order(r.Guard); r.RequireSpan(tb, "check_stock") },
			`2 spans "check_stock" arrived; exactly one was expected`,
		},
		"span with other attributes": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "POST /orders", attribute.String("http.route", "/"))
			},
			`no span "POST /orders" with http.route=/ arrived within `,
		},
		"no such child": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "POST /orders").RequireChild(tb, "refund")
			},
			`span "POST /orders" has no child "refund" within `,
		},
		"attributes": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "POST /orders").RequireAttributes(tb, route, attribute.Int("http.route", 1),
					attribute.String("user", "a b"))
			},
			"attributes of span \"POST /orders\":\n    want http.route=1, got /orders (string, want int64)\n    want " +
				"user=\"a b\", which it does not have",
		},
		"status": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "charge card").RequireStatus(tb, codes.Error, "no money")
			},
			`status of span "charge card": want Error: "no money", got Error: "card declined"`,
		},
		"event": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "check_stock").RequireEvent(tb, "reserved", attribute.Int("warehouse", 4))
			},
			`span "check_stock" has no event "reserved" with warehouse=4`,
		},
		"log record of a span": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "check_stock").RequireLog(tb, "order received")
			},
			`span "check_stock" has no log record "order received" within `,
		},
		"log record": {
			func(tb testing.TB, r *telemetrytest.Recorder) { r.RequireLog(tb, "order sent") },
			`no log record "order sent" arrived within `,
		},
		"log record with another type": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireLog(tb, "order received", attribute.String("order.id", "7"))
			},
			"\n    order.id=\"7\" (STRING); there is one with order.id=7 (INT64)\n",
		},
		"span with another type": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				_, span := r.Guard.TracerProvider().Tracer("shop").Start(context.Background(), "numbered")
				span.SetAttributes(attribute.String("order.id", "7"))
				span.End()
				r.RequireSpan(tb, "numbered", attribute.Int("order.id", 7))
			},
			"\n    order.id=7 (INT64); there is one with order.id=\"7\" (STRING)",
		},
		"event with another type": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "check_stock").RequireEvent(tb, "reserved", attribute.Float64("warehouse", 3))
			},
			"has no event \"reserved\" with warehouse=3\n    warehouse=3 (FLOAT64); there is one with warehouse=3 " +
				"(INT64)",
		},
		"log record of a span with another type": {
			func(tb testing.TB, r *telemetrytest.Recorder) {
				r.RequireSpan(tb, "check_stock").RequireLog(tb, "stock is low", attribute.String("left", "1"))
			},
			"\n    left=\"1\" (STRING); there is one with left=1 (INT64)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := failure(t, func(tb testing.TB) {
				r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
				order(r.Guard)
				tc.ask(tb, r)
			})
			require.True(t, strings.HasPrefix(message, "telemetrytest: "), message)
			require.Contains(t, message, tc.want)
			for _, line := range tree {
				require.Contains(t, message, line)
			}
			require.NotContains(t, message, "not everything")
			require.NotContains(t, message, "nothing has arrived")
		})
	}
}

func TestFailuresOfMetricsShowAllOfThem(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		order(r.Guard)
		duration, err := r.Guard.MeterProvider().Meter("shop").Float64Histogram("order.duration", metric.WithUnit("s"))
		require.NoError(t, err)
		duration.Record(t.Context(), 2.5)
		r.RequireMetric(tb, "orders", attribute.String("outcome", "paid"))
	})
	require.Contains(t, message, `no metric "orders" with outcome=paid arrived within `)
	require.Contains(t, message, "\norders  sum \n     value=1 outcome=declined")
	require.Contains(t, message, "\norder.duration  histogram s\n     count=1 sum=2.5")

	message = failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		sold, err := r.Guard.MeterProvider().Meter("shop").Int64Counter("sold")
		require.NoError(t, err)
		sold.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("shelf", 4)))
		r.RequireMetric(tb, "sold", attribute.String("shelf", "4"))
	})
	require.Contains(t, message, "\n    shelf=\"4\" (STRING); there is one with shelf=4 (INT64)")
}

func TestFailuresSayWhenNothingHasArrived(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		telemetrytest.Start(tb, telemetry.WithoutGlobals()).RequireSpan(tb, "x")
	})
	require.Contains(t, message, "nothing has arrived. Does the service use this test's guard")
	message = failure(t, func(tb testing.TB) {
		telemetrytest.Start(tb, telemetry.WithoutGlobals()).RequireMetric(tb, "x")
	})
	require.Contains(t, message, "no metrics have arrived")
}

// TestFailuresSayWhatDidNotGetThrough has a collector that is down: what is missing may be on its
// way.
func TestFailuresSayWhatDidNotGetThrough(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		telemetrytest.SetFlushLimit(r.Collector, time.Second)
		r.Down()
		order(r.Guard)
		r.RequireSpan(tb, "POST /orders")
	})
	require.Regexp(t, `no span "POST /orders" arrived within \S+s\nnot everything could be delivered: telemetry: flush traces: `, message)
}

func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	message := failure(t, func(tb testing.TB) {
		r := telemetrytest.Start(tb, telemetry.WithoutGlobals())
		for range 21 {
			_, span := r.Guard.TracerProvider().Tracer("shop").Start(t.Context(), "poll",
				trace.WithAttributes(attribute.String("body", strings.Repeat("ab", 1000))))
			span.End()
			r.Guard.Logger().Info("outside")
		}
		r.RequireSpan(tb, "x")
	})
	require.Equal(t, 20, strings.Count(message, "\npoll"))
	require.Contains(t, message, "and 1 more traces")
	require.Contains(t, message, "body="+strings.Repeat("ab", 60)+"…\n")
	require.Equal(t, 20, strings.Count(message, "log INFO outside"))
}

// TestATraceThroughTwoServices has a caller that the collector does not know, and a log record
// without its span.
func TestATraceThroughTwoServices(t *testing.T) {
	shop := parallel(t, telemetry.WithServiceName("shop"))
	bank := shop.Collector.Start(t, telemetry.WithServiceName("bank"), telemetry.WithoutGlobals())
	caller := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
	incoming := trace.ContextWithRemoteSpanContext(t.Context(), caller)
	shop.Guard.Logger().InfoContext(incoming, "before the span")
	ctx, order := shop.Guard.TracerProvider().Tracer("shop").Start(incoming, "order")
	_, charge := bank.Guard.TracerProvider().Tracer("bank").Start(ctx, "charge")
	charge.End()
	order.End()

	charged := shop.RequireSpan(t, "charge")
	require.Equal(t, "order", charged.Parent().Name)
	drawn := charged.Trace().String()
	require.Regexp(t, `^trace 01000000000000000000000000000000
order  internal  of shop  \S+  \(its parent 0200000000000000 has not arrived\)
└─ charge  internal  of bank  \S+
log INFO "before the span", in span 0200000000000000, which has not arrived
$`, drawn)
	require.Len(t, bank.Spans(), 2, "both ask the same collector")
}
