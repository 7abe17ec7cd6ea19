package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// Whatever a service records, or its callers make it record, is bounded, is delivered or counted,
// and does not affect other data. SECURITY.md states the bounds. These tests check each at the
// bound and one past it.

func TestSpanBounds(t *testing.T) {
	attributes := func(n int) (all []attribute.KeyValue) {
		for i := range n {
			all = append(all, attribute.Int(fmt.Sprintf("k%d", i), i))
		}
		return all
	}
	link := trace.Link{SpanContext: remoteContext(t, trace.FlagsSampled)}
	for name, tc := range map[string]struct {
		bound  int
		record func(span trace.Span, n int)
		kept   func(otlptest.Span) (kept, dropped int)
	}{
		"characters of a value": {
			32768, func(s trace.Span, n int) { s.SetAttributes(attribute.String("v", strings.Repeat("ä", n))) },
			func(s otlptest.Span) (int, int) {
				kept := len([]rune(s.Attributes["v"].(string)))
				return kept, -1
			},
		},
		"attributes": {
			128, func(s trace.Span, n int) { s.SetAttributes(attributes(n)...) },
			func(s otlptest.Span) (int, int) { return len(s.Attributes), int(s.DroppedAttributes) },
		},
		"events": {
			128, func(s trace.Span, n int) {
				for range n {
					s.AddEvent("e")
				}
			},
			func(s otlptest.Span) (int, int) { return len(s.Events), int(s.DroppedEvents) },
		},
		"links": {
			128, func(s trace.Span, n int) {
				for range n {
					s.AddLink(link)
				}
			},
			func(s otlptest.Span) (int, int) { return len(s.Links), int(s.DroppedLinks) },
		},
		"attributes of an event": {
			128, func(s trace.Span, n int) { s.AddEvent("e", trace.WithAttributes(attributes(n)...)) },
			func(s otlptest.Span) (int, int) {
				return len(s.Events[0].Attributes), int(s.Events[0].DroppedAttributes)
			},
		},
		"attributes of a link": {
			128, func(s trace.Span, n int) {
				s.AddLink(trace.Link{SpanContext: link.SpanContext, Attributes: attributes(n)})
			},
			func(s otlptest.Span) (int, int) { return len(s.Links[0].Attributes), int(s.Links[0].DroppedAttributes) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c)
			tracer := guard.TracerProvider().Tracer("test")
			for _, n := range []int{tc.bound, tc.bound + 1, 10_000} {
				if n <= tc.bound+1 || name == "events" || name == "attributes" {
					_, span := tracer.Start(t.Context(), fmt.Sprint(n))
					tc.record(span, n)
					span.End()
				}
			}
			flushed(t, guard)
			for _, span := range c.Spans() {
				var n int
				_, err := fmt.Sscan(span.Name, &n)
				require.NoError(t, err)
				kept, dropped := tc.kept(span)
				require.Equal(t, min(n, tc.bound), kept)
				if dropped >= 0 {
					require.Equal(t, n-min(n, tc.bound), dropped, "what is left out is counted")
				}
			}
			require.GreaterOrEqual(t, len(c.Spans()), 2)
		})
	}
}

func TestLogRecordBounds(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	for _, n := range []int{128, 129, 1000} {
		args := make([]any, 0, n)
		for i := range n {
			args = append(args, slog.Int(fmt.Sprintf("k%d", i), i))
		}
		guard.Logger().Info("many", args...)
	}
	for _, n := range []int{32768, 32769} {
		guard.Logger().Info("long", "v", strings.Repeat("ä", n))
	}
	flushed(t, guard)
	records := c.LogRecords()
	require.Len(t, records, 5)
	require.Equal(t, []int{128, 128, 128},
		[]int{len(records[0].Attributes), len(records[1].Attributes), len(records[2].Attributes)})
	require.Equal(t, []uint32{0, 1, 872},
		[]uint32{records[0].DroppedAttributes, records[1].DroppedAttributes, records[2].DroppedAttributes})
	require.Len(t, []rune(records[3].Attributes["v"].(string)), 32768)
	require.Len(t, []rune(records[4].Attributes["v"].(string)), 32768)
}

func TestMetricSeriesBound(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	const bound = 2000
	for name, n := range map[string]int{"at": bound - 1, "past": bound} { // one of them is the overflow's
		counter, err := guard.MeterProvider().Meter("test").Int64Counter(name)
		require.NoError(t, err)
		for i := range n {
			counter.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("i", i)))
		}
	}
	flushed(t, guard)
	for _, m := range c.Metrics() {
		if m.Name != "at" && m.Name != "past" {
			continue
		}
		overflow, sum := false, 0.0
		for _, p := range m.Points {
			_, isOverflow := p.Attributes["otel.metric.overflow"]
			overflow = overflow || isOverflow
			sum += p.Value
		}
		require.LessOrEqual(t, len(m.Points), bound)
		require.Equal(t, m.Name == "past", overflow)
		require.EqualValues(t, map[string]int{"at": bound - 1, "past": bound}[m.Name], sum,
			"nothing is lost in the overflow")
	}
}

// OTLP's strings are UTF-8, and an invalid one makes the collector reject the whole request. With
// the SDK alone that is a batch of spans, and for cumulative metrics every later export.
func TestInvalidUTF8IsRepaired(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, _ := start(t, c, telemetry.WithProtocol(protocol),
				telemetry.WithEndpoint(c.Endpoint(string(protocol))))
			attrs := []attribute.KeyValue{
				attribute.String(notUTF8, notUTF8), attribute.StringSlice("slice", []string{"a", notUTF8}),
				attribute.Slice("values", attribute.StringValue(notUTF8)),
				attribute.Map("map", attribute.Map("inner", attribute.String(notUTF8, notUTF8))),
			}
			wantAttrs := map[string]any{
				repaired: repaired, "slice": []any{"a", repaired}, "values": []any{repaired},
				"map": map[string]any{"inner": map[string]any{repaired: repaired}},
			}
			tracer := guard.TracerProvider().Tracer(notUTF8)
			ctx, span := tracer.Start(t.Context(), notUTF8, trace.WithAttributes(attrs...),
				trace.WithLinks(trace.Link{SpanContext: remoteContext(t, trace.FlagsSampled), Attributes: attrs}))
			span.AddEvent(notUTF8, trace.WithAttributes(attrs...))
			span.SetStatus(codes.Error, notUTF8)
			span.End()
			_, sound := tracer.Start(ctx, "sound")
			sound.End()
			guard.Logger().InfoContext(ctx, notUTF8, notUTF8, notUTF8, "error", errors.New(notUTF8),
				slog.Group("group", "inner", notUTF8))
			guard.Logger().InfoContext(ctx, "sound")
			counter, err := guard.MeterProvider().Meter(notUTF8).Int64Counter("c", metric.WithDescription(notUTF8),
				metric.WithUnit(notUTF8))
			require.NoError(t, err)
			counter.Add(ctx, 1, metric.WithAttributes(attrs...))
			flushed(t, guard)

			require.ElementsMatch(t, []string{repaired, "sound"}, spanNames(c))
			for _, s := range c.Spans() {
				if s.Name == "sound" {
					continue
				}
				require.Equal(t, wantAttrs, s.Attributes)
				require.Equal(t, repaired, s.Status.Message)
				require.Equal(t, repaired, s.Events[0].Name)
				require.Equal(t, wantAttrs, s.Events[0].Attributes)
				require.Equal(t, wantAttrs, s.Links[0].Attributes)
				require.Equal(t, repaired, s.Scope.Name)
			}
			require.Equal(t, []string{repaired, "sound"}, logBodies(c))
			record := c.LogRecords()[0]
			require.Equal(t, repaired, record.Attributes[repaired])
			require.Equal(t, repaired, record.Attributes["error"])
			require.Equal(t, map[string]any{"inner": repaired}, record.Attributes["group"])
			found := false
			for _, m := range c.Metrics() {
				if m.Name == "c" {
					found = true
					require.Equal(t, wantAttrs, m.Points[0].Attributes)
				}
			}
			require.True(t, found)
			health := guard.Health()
			for _, h := range []telemetry.SignalHealth{health.Traces, health.Metrics, health.Logs} {
				require.Equal(t, h.Accepted, h.Exported)
			}
		})
	}
}

// An invalid resource would make the collector reject every request.
func TestInvalidUTF8InTheResourceIsRepaired(t *testing.T) {
	c := otlptest.New(t)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=caf%E9")
	guard, _ := start(t, c, telemetry.WithResourceAttributes(attribute.String(notUTF8, notUTF8)),
		telemetry.WithServiceVersion("\xff"))
	record(t.Context(), guard, "span")
	flushed(t, guard)
	require.Len(t, c.Spans(), 1)
	resource := c.Spans()[0].Resource
	require.Equal(t, repaired, resource[repaired])
	require.Equal(t, "\ufffd", resource["service.version"])
	require.Equal(t, "caf\ufffd", resource["team"])
}

func TestMisbehavingValuesLoseNoRecord(t *testing.T) {
	loop := &cycle{}
	loop.Next = loop
	cyclicMap := map[string]any{}
	cyclicMap["self"] = cyclicMap
	cyclicSlice := []any{nil}
	cyclicSlice[0] = cyclicSlice
	deep := slog.String("leaf", "x")
	for range 5000 {
		deep = slog.Group("g", deep)
	}
	values := map[string]any{
		"endless LogValuer":   endless{},
		"panicking LogValuer": panickingValuer{},
		"panicking value":     hostile{},
		"nil pointer":         (*hostile)(nil),
		"nil error":           error((*hostile)(nil)),
		"cyclic pointer":      loop,
		"cyclic map":          cyclicMap,
		"cyclic slice":        cyclicSlice,
		"channel":             make(chan int),
		"function":            func() {},
		"NaN":                 math.NaN(),
		"5,000 groups":        deep.Value,
		"nothing":             nil,
	}
	for _, format := range []telemetry.LogFormat{telemetry.LogFormatJSON, telemetry.LogFormatText} {
		t.Run(string(format), func(t *testing.T) {
			c := otlptest.New(t)
			guard, console := start(t, c, telemetry.WithLogFormat(format))
			for name, value := range values {
				require.NotPanics(t, func() { guard.Logger().Info("said: "+name, "value", value, "beside", "it") })
			}
			flushed(t, guard)
			for name := range values {
				require.Contains(t, logBodies(c), "said: "+name)
				require.Contains(t, console.String(), "said: "+name)
			}
			require.Contains(t, console.String(), "!DEPTH: a value that holds itself or nests more than 64 levels")
			for _, r := range c.LogRecords() {
				require.Equal(t, "it", r.Attributes["beside"], "a bad value costs its own attribute only: %s", r.Body)
			}
		})
	}
}

func TestNestingBound(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	groups := func(levels int) slog.Value {
		v := slog.StringValue("leaf")
		for range levels {
			v = slog.GroupValue(slog.Attr{Key: "g", Value: v})
		}
		return v
	}
	maps := func(levels int) any {
		var v any = "leaf"
		for range levels {
			v = map[string]any{"g": v}
		}
		return v
	}
	for name, value := range map[string]any{
		"kept: 64 groups": groups(64), "cut: 65 groups": groups(65),
		"kept: 32 maps": maps(32), "cut: 33 maps": maps(33), // each map holds an interface
		"kept: an error": &cyclicError{}, "kept: many": make([]any, 100_000),
	} {
		if e, ok := value.(*cyclicError); ok {
			e.inside = []any{e}
			e.inside[0] = e.inside
		}
		guard.Logger().Info(name, "value", value)
		guard.Logger().With("value", value).Info(name)
	}
	flushed(t, guard)
	require.Len(t, c.LogRecords(), 12)
	for _, r := range c.LogRecords() {
		_, isText := r.Attributes["value"].(string)
		cut := isText && strings.HasPrefix(r.Attributes["value"].(string), "!DEPTH")
		require.Equal(t, strings.HasPrefix(r.Body.(string), "cut"), cut, r.Body)
	}
}

func TestNaNAndInfinityArrive(t *testing.T) {
	c := otlptest.New(t)
	guard, _ := start(t, c)
	meter := guard.MeterProvider().Meter("test")
	histogram, err := meter.Float64Histogram("h")
	require.NoError(t, err)
	counter, err := meter.Float64Counter("sound")
	require.NoError(t, err)
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		histogram.Record(t.Context(), v)
	}
	counter.Add(t.Context(), 1)
	_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "span", trace.WithAttributes(
		attribute.Float64("nan", math.NaN()), attribute.Float64Slice("inf", []float64{math.Inf(1), math.Inf(-1)})))
	span.End()
	flushed(t, guard)
	require.True(t, math.IsNaN(c.Spans()[0].Attributes["nan"].(float64)))
	require.Contains(t, metricNames(c), "sound")
	require.Contains(t, metricNames(c), "h")
}

// A record with 4 MiB of attributes, each within its limit, exceeds a collector's 4 MiB. It is
// dropped and counted, and the others arrive.
func TestAnOversizedRecordCostsNoOther(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t, otlptest.WithMaxRequestBytes(4<<20))
			guard, _ := start(t, c, telemetry.WithProtocol(protocol),
				telemetry.WithEndpoint(c.Endpoint(string(protocol))), telemetry.WithLogFormat(telemetry.LogFormatText))
			for i := range 10 {
				guard.Logger().Info(fmt.Sprint("small ", i))
			}
			var args []any
			for i := range 128 {
				args = append(args, fmt.Sprint(i), strings.Repeat("x", 40_000))
			}
			guard.Logger().Info("large", args...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := guard.ForceFlush(ctx); err != nil { // nil if the batch was full, and gone, before
				require.ErrorContains(t, err, "1 log record")
			}
			require.Len(t, c.LogRecords(), 10)
			health := guard.Health().Logs
			require.EqualValues(t, 1, health.Dropped)
			require.EqualValues(t, 1, health.DroppedBy["too_large"])
			require.EqualValues(t, 11, health.Accepted)
			require.EqualValues(t, 10, health.Exported)
		})
	}
}

// What the SDK does not cut arrives cut, and so does the error that the service wanted to report.
func TestBoundsThatTheSDKDoesNotEnforce(t *testing.T) {
	const text, body, elements = 32768, 131072, 4096
	for _, protocol := range protocols {
		for _, past := range []int{0, 1, 5 << 20} {
			t.Run(fmt.Sprintf("%s/%d", protocol, past), func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithMaxRequestBytes(4<<20))
				long := func(bound int) string { return strings.Repeat("x", bound+past) }
				attrs := func() []attribute.KeyValue {
					return []attribute.KeyValue{
						attribute.String("v", long(text)), attribute.BoolSlice("b", make([]bool, elements+past)),
						attribute.StringSlice("s", []string{"a", long(text)}),
					}
				}
				guard, _ := start(t, c, telemetry.WithProtocol(protocol),
					telemetry.WithEndpoint(c.Endpoint(string(protocol))),
					telemetry.WithResourceAttributes(attrs()...))
				requireCut := func(got map[string]any) {
					t.Helper()
					require.Len(t, got["v"], text)
					require.Len(t, got["b"], elements)
					require.Len(t, got["s"].([]any)[1], text)
				}
				_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), long(text),
					trace.WithAttributes(attrs()...),
					trace.WithLinks(trace.Link{SpanContext: remoteContext(t, trace.FlagsSampled), Attributes: attrs()}))
				span.AddEvent(long(text), trace.WithAttributes(attrs()...))
				span.RecordError(errors.New(long(text)))
				span.SetStatus(codes.Error, long(text))
				span.End()
				guard.Logger().Debug("not sent")
				guard.Logger().Error(long(body), "v", long(text), "error", errors.New(long(text)), "b",
					make([]bool, elements+past), "s", []string{"a", long(text)})
				counter, err := guard.MeterProvider().Meter("test").Int64Counter("c")
				require.NoError(t, err)
				counter.Add(t.Context(), 1, metric.WithAttributes(attrs()...))
				_, err = guard.MeterProvider().Meter("test").Int64ObservableGauge("g",
					metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
						o.Observe(1, metric.WithAttributes(attrs()...))
						return nil
					}))
				require.NoError(t, err)
				flushed(t, guard)

				require.Len(t, c.Spans(), 1)
				s := c.Spans()[0]
				require.Len(t, s.Name, text)
				requireCut(s.Attributes)
				requireCut(s.Resource)
				require.Len(t, s.Events[0].Name, text)
				requireCut(s.Events[0].Attributes)
				require.Len(t, s.Events[1].Attributes["exception.message"], text)
				requireCut(s.Links[0].Attributes)
				require.Len(t, s.Status.Message, text)

				require.Len(t, c.LogRecords(), 1)
				r := c.LogRecords()[0]
				require.Len(t, r.Body, body)
				requireCut(r.Attributes)
				require.Len(t, r.Attributes["error"], text)
				require.Len(t, r.Attributes["exception.message"], text)

				found := 0
				for _, m := range c.Metrics() {
					if m.Name == "c" || m.Name == "g" {
						found++
						requireCut(m.Points[0].Attributes)
					}
				}
				require.Equal(t, 2, found)
			})
		}
	}
}

// notUTF8 is what an untrusted header may contain.
const notUTF8 = "caf\xe9 \xff\xfe"

const repaired = "caf\ufffd \ufffd"

// endless is a slog.LogValuer that never ends.
type endless struct{}

func (e endless) LogValue() slog.Value { return slog.AnyValue(e) }

// hostile panics in every method that formats a value.
type hostile struct{ Inner chan int }

func (hostile) String() string { panic("String") }

func (hostile) Error() string { panic("Error") }

func (hostile) MarshalJSON() ([]byte, error) { panic("MarshalJSON") }

func (hostile) MarshalText() ([]byte, error) { panic("MarshalText") }

type panickingValuer struct{}

func (panickingValuer) LogValue() slog.Value { panic("LogValue") }

type cycle struct{ Next *cycle }

type cyclicError struct{ inside []any }

func (*cyclicError) Error() string { return "text of its own" }
