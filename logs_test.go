package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// Both branches handle in every format what slog.JSONHandler handles, and also values that crash
// it. No record is lost.
func TestCyclicValuesLoseNoRecord(t *testing.T) {
	if inOwnProcess(t, 200) {
		return
	}
	for name, opts := range map[string][]telemetry.Option{
		"JSON":              {telemetry.WithLogFormat(telemetry.LogFormatJSON)},
		"text":              {telemetry.WithLogFormat(telemetry.LogFormatText)},
		"without redaction": {telemetry.WithRedaction(telemetry.Redaction{Off: true})},
	} {
		c := otlptest.New(t)
		guard, console := start(t, c, opts...)
		began := time.Now()
		for what, value := range selfHolding() {
			guard.Logger().Info("said: "+what, "value", value, "beside", "it")
			guard.Logger().With("value", value).WithGroup("g").With("value", value).Info("with: "+what, "beside", "it")
		}
		require.Less(t, time.Since(began), 20*time.Second)
		flushed(t, guard)
		bodies := logBodies(c)
		for what := range selfHolding() {
			for _, body := range []string{"said: " + what, "with: " + what} {
				require.Contains(t, bodies, body, name)
				require.Contains(t, console.String(), body, name)
			}
		}
		for _, r := range c.LogRecords() {
			switch r.Body {
			case "said: MarshalJSON":
				require.Equal(t, map[string]any{"name": "own JSON"}, r.Attributes["value"])
			case "said: MarshalText":
				require.Equal(t, "own text", r.Attributes["value"])
			}
			if strings.HasPrefix(r.Body.(string), "said") {
				require.Equal(t, "it", r.Attributes["beside"], r.Body)
			}
		}
	}
}

// The development view formats values itself.
func TestCyclicValuesInTheDevelopmentView(t *testing.T) {
	if inOwnProcess(t, 200) {
		return
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	t.Setenv("TELEMETRY_CONSOLE_FORMAT", "tree")
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(console), telemetry.WithoutMetrics(),
		telemetry.WithoutLogs())
	require.NoError(t, err)
	ctx, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "span")
	for what, value := range selfHolding() {
		guard.Logger().InfoContext(ctx, "said: "+what, "value", value)
		require.Contains(t, console.String(), what)
	}
	span.End()
	require.NoError(t, guard.Shutdown(t.Context()))
}

// A value of a million elements costs no more than the budget allows, on both branches.
func TestLargeLogValuesStayWithinTheBudget(t *testing.T) {
	if inOwnProcess(t, 700) {
		return
	}
	c := otlptest.New(t)
	guard, console := start(t, c)
	million := make(map[string]int, 1_000_000)
	for i := range 1_000_000 {
		million[fmt.Sprint(i)] = i
	}
	stock := slog.New(slog.NewJSONHandler(&syncBuffer{}, nil))
	took := func(f func()) time.Duration {
		began := time.Now()
		f()
		return time.Since(began)
	}
	plain := took(func() { stock.Info("large", "value", million) })
	ours := took(func() { guard.Logger().Info("large", "value", million) })
	require.Less(t, ours, 2*plain+100*time.Millisecond)
	guard.Logger().Info("large", "value", make([]bool, 8<<20))
	guard.Logger().Info("large", "value", strings.Split(strings.Repeat("x,", 1<<20), ","))
	guard.Logger().Info("large", "value", []string{strings.Repeat("x", 5<<20)})
	guard.Logger().Error("large", "error", errors.New(strings.Repeat("x", 5<<20)))
	flushed(t, guard)
	require.Len(t, c.LogRecords(), 5)
	require.Less(t, len(console.String()), 4<<20)
	for _, r := range c.LogRecords() {
		require.Less(t, len(fmt.Sprint(r.Attributes)), 1<<20)
	}
}

// Values of kinds that have no direct form in JSON or OTLP arrive on both branches and do not
// affect other values.
func TestEveryKindOfLogValueArrives(t *testing.T) {
	var none *errorOfItself
	for _, tc := range []struct {
		name    string
		value   any
		console string
		otlp    any
	}{
		{name: "uint64 above MaxInt64", value: uint64(math.MaxUint64), console: `18446744073709551615`,
			otlp: "18446744073709551615"},
		{name: "uint64 in a group", value: slog.GroupValue(slog.Uint64("n", math.MaxInt64+1)),
			console: `{"n":9223372036854775808}`, otlp: map[string]any{"n": "9223372036854775808"}},
		{name: "uint64 in a map", value: map[string]any{"n": uint64(math.MaxUint64)},
			console: `{"n":18446744073709551615}`, otlp: map[string]any{"n": "18446744073709551615"}},
		{name: "uint64 that fits", value: uint64(math.MaxInt64), console: `9223372036854775807`,
			otlp: int64(math.MaxInt64)},
		{name: "Inf", value: math.Inf(1), console: `"+Inf"`, otlp: math.Inf(1)},
		{name: "Inf in a group", value: slog.GroupValue(slog.Float64("f", math.Inf(-1)), slog.Int("n", 1)),
			console: `{"f":"-Inf","n":1}`, otlp: map[string]any{"f": math.Inf(-1), "n": int64(1)}},
		{name: "Inf in a slice", value: []float64{math.Inf(1), 1}, console: `["+Inf",1]`,
			otlp: []any{math.Inf(1), 1.0}},
		{name: "duration", value: time.Second, console: `1000000000`, otlp: int64(time.Second)},
		{name: "duration in a map", value: map[string]any{"d": time.Second}, console: `{"d":1000000000}`,
			otlp: map[string]any{"d": int64(time.Second)}},
		{name: "bytes", value: []byte("raw"), console: `"cmF3"`, otlp: []byte("raw")},
		{name: "nothing", console: `null`},
		{name: "error in a map", value: map[string]any{"e": errors.New("no")}, console: `{"e":"no"}`,
			otlp: map[string]any{"e": "no"}},
		{name: "nil pointer in a slice", value: []error{none},
			console: `["!PANIC: runtime error: invalid memory address or nil pointer dereference"]`,
			otlp:    []any{"!PANIC: runtime error: invalid memory address or nil pointer dereference"}},
		{name: "nested groups", value: slog.GroupValue(slog.Group("a", slog.Group("b", "c", []int{1}))),
			console: `{"a":{"b":{"c":[1]}}}`,
			otlp:    map[string]any{"a": map[string]any{"b": map[string]any{"c": []any{int64(1)}}}}},
		{name: "struct", value: struct {
			ID    int    `json:"id"`
			Token string `json:"-"`
		}{7, "t"}, console: `{"id":7}`, otlp: "{id:7}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := otlptest.New(t)
			guard, console := start(t, c)
			guard.Logger().Info("said", "value", tc.value, "beside", "it")
			guard.Logger().With("value", tc.value).Info("with", "beside", "it")
			flushed(t, guard)
			require.Len(t, c.LogRecords(), 2)
			for _, r := range c.LogRecords() {
				require.Equal(t, tc.otlp, r.Attributes["value"])
				require.Equal(t, "it", r.Attributes["beside"])
			}
			require.Equal(t, 2, strings.Count(console.String(), `"value":`+tc.console+`,"beside":"it"`),
				console.String())
		})
	}
}

// One number that JSON cannot express loses neither its span nor the metrics of that collection on
// the console.
func TestNaNAndInfinityOnTheConsole(t *testing.T) {
	if isChild() {
		guard, err := telemetry.Init(t.Context(), telemetry.WithLogOutput(os.Stdout),
			telemetry.WithResourceAttributes(attribute.Float64("r", math.NaN())))
		require.NoError(t, err)
		attrs := []attribute.KeyValue{
			attribute.Float64("nan", math.NaN()), attribute.Float64Slice("inf", []float64{math.Inf(1), 1.5}),
			attribute.Map("m", attribute.Slice("s", attribute.Float64Value(math.Inf(-1)))), attribute.Int("n", 1),
		}
		ctx, span := guard.TracerProvider().Tracer("test",
			trace.WithInstrumentationAttributes(attrs...)).Start(t.Context(), "span", trace.WithAttributes(attrs...))
		span.AddEvent("event", trace.WithAttributes(attrs...))
		span.AddLink(trace.Link{SpanContext: span.SpanContext(), Attributes: attrs})
		meter := guard.MeterProvider().Meter("test", metric.WithInstrumentationAttributes(attrs...))
		histogram, err := meter.Float64Histogram("histogram", metric.WithExplicitBucketBoundaries(1, 2))
		require.NoError(t, err)
		gauge, err := meter.Float64Gauge("gauge")
		require.NoError(t, err)
		counter, err := meter.Float64Counter("counter")
		require.NoError(t, err)
		sound, err := meter.Float64Counter("sound")
		require.NoError(t, err)
		histogram.Record(ctx, 1.5, metric.WithAttributes(attrs...))
		histogram.Record(ctx, math.Inf(1), metric.WithAttributes(attrs...))
		gauge.Record(ctx, math.NaN())
		counter.Add(ctx, math.Inf(1))
		sound.Add(ctx, 2.5)
		span.End()
		var foreign otellog.Record
		foreign.SetSeverity(otellog.SeverityError)
		foreign.SetBody(attribute.StringValue("from another bridge"))
		foreign.AddAttributes(attrs...)
		otel.Logger("zap").Emit(ctx, foreign)
		require.NoError(t, guard.Shutdown(t.Context()))
		return
	}
	output := runChild(t, "OTEL_TRACES_EXPORTER=console", "OTEL_METRICS_EXPORTER=console", "OTEL_LOGS_EXPORTER=console",
		"OTEL_TRACES_SAMPLER=always_on")
	var lines []map[string]any
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "{") {
			var decoded map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &decoded), line)
			lines = append(lines, decoded)
		}
	}
	require.NotContains(t, output, "unsupported value")
	require.NotContains(t, output, "!ERROR")
	require.Contains(t, output, `"Name":"span"`)
	require.Contains(t, output, `{"Key":"nan","Value":{"Type":"STRING","Value":"NaN"}}`)
	require.Contains(t, output, `{"Key":"r","Value":{"Type":"STRING","Value":"NaN"}}`)
	require.Contains(t, output, `"nan":"NaN"`)
	require.GreaterOrEqual(t, len(lines), 3)
	points := map[string]map[string]any{}
	for _, line := range lines {
		scopes, _ := line["ScopeMetrics"].([]any)
		for _, scope := range scopes {
			for _, m := range scope.(map[string]any)["Metrics"].([]any) {
				m := m.(map[string]any)
				points[m["Name"].(string)] = m["Data"].(map[string]any)["DataPoints"].([]any)[0].(map[string]any)
			}
		}
	}
	require.Equal(t, "NaN", points["gauge"]["Value"])
	require.Equal(t, "+Inf", points["counter"]["Value"])
	require.InDelta(t, 2.5, points["sound"]["Value"], 0)
	require.Equal(t, "+Inf", points["histogram"]["Max"])
	require.InDelta(t, 1.5, points["histogram"]["Min"], 0)
	require.InDelta(t, 2, points["histogram"]["Count"], 0)
	require.Equal(t, []any{0.0, 1.0, 1.0}, points["histogram"]["BucketCounts"])
	require.Len(t, points["histogram"]["Attributes"], 4)
}

// The value of a panic may refer to itself, too.
func TestPanicsWithCyclicValues(t *testing.T) {
	if inOwnProcess(t, 200) {
		return
	}
	c := otlptest.New(t)
	guard, _ := start(t, c)
	ctx, parent := guard.TracerProvider().Tracer("test").Start(t.Context(), "parent")
	for what, value := range selfHolding() {
		require.Panics(t, func() {
			_ = telemetry.Do(ctx, what, func(context.Context) error { panic(value) })
		})
	}
	for _, value := range []any{7, "text", errors.New("error"), time.Second} {
		require.Panics(t, func() {
			_ = telemetry.Do(ctx, fmt.Sprint("plain ", value), func(context.Context) error { panic(value) })
		})
	}
	parent.End()
	gauge, err := guard.MeterProvider().Meter("test").Int64ObservableGauge("g",
		metric.WithInt64Callback(func(context.Context, metric.Int64Observer) error {
			panic(selfHolding()["a wide slice"])
		}))
	require.NoError(t, err)
	require.NotNil(t, gauge)
	flushed(t, guard)
	require.Len(t, c.Spans(), len(selfHolding())+4+1)
	for _, s := range c.Spans() {
		if text, ok := strings.CutPrefix(s.Name, "plain "); ok {
			require.Equal(t, "panic: "+text, s.Status.Message)
		}
	}
}

// A logger that was made from slog's default before Init writes through package log into the new
// default. Levels and attributes are parsed from the text; one line says that trace ids are
// missing.
func TestALoggerMadeBeforeInitFollowsInit(t *testing.T) {
	if !isChild() {
		runChild(t)
		return
	}
	early := slog.Default()
	with := early.With("shop", "eu").WithGroup("card")
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithLogLevel(slog.LevelWarn), telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)

	early.Error("card declined", "order.id", 7)
	with.Warn("try a=1 again", "text", "two words", "quoted", `"`, "none", "", "ok", true, "id", "007")
	early.Log(t.Context(), slog.LevelError+2, "no attributes")
	early.Error("")
	early.Info("below the level")
	log.Print("ERROR of package log a=1")
	log.Print("plain")
	flushed(t, guard)

	type arrived struct {
		body, severity string
		attributes     map[string]any
	}
	var got []arrived
	for _, r := range c.LogRecords() {
		got = append(got, arrived{r.Body.(string), r.SeverityText, r.Attributes})
	}
	require.Equal(t, []arrived{
		{"card declined", "ERROR", map[string]any{"order.id": int64(7)}},
		{"try a=1 again", "WARN", map[string]any{"shop": "eu", "card.text": "two words", "card.quoted": `"`,
			"card.none": "", "card.ok": true, "card.id": "007"}},
		{"no attributes", "ERROR+2", map[string]any{}},
		{"", "ERROR", map[string]any{}},
	}, got)
	require.Contains(t, console.String(), `"level":"ERROR","msg":"card declined","order.id":7`)
	require.Eventually(t, func() bool {
		return strings.Contains(console.String(),
			"was created from slog.Default() before Init")
	}, 5*time.Second, time.Millisecond)
	require.Equal(t, 1, strings.Count(console.String(), "was created from slog.Default() before Init"))
	require.Contains(t, console.String(), "logs_test.go:")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Empty(t, log.Prefix())
	early.Info("back to where it was")
}

// What package log itself writes stays a message at slog's level for it, even if it looks like a
// logger's line.
func TestPackageLogIsNotMistakenForALogger(t *testing.T) {
	if !isChild() {
		runChild(t)
		return
	}
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)
	log.Print("ERROR a=1")
	slog.SetLogLoggerLevel(slog.LevelWarn)
	log.Print("WARN-ing")
	slog.Default().Info("ERROR b=2")
	flushed(t, guard)
	require.Equal(t, []string{"ERROR a=1", "WARN-ing", "ERROR b=2"}, logBodies(c))
	require.Equal(t, "INFO", c.LogRecords()[0].SeverityText)
	require.Equal(t, "WARN", c.LogRecords()[1].SeverityText)
	require.NotContains(t, console.String(), "slog.Default()")
	require.NoError(t, guard.Shutdown(t.Context()))
}

type (
	marshalsItself struct {
		Name string
		Self any
	}
	textsItself   struct{ Self any }
	mapOfItself   map[string]any
	pointerNamed  struct{ Self any }
	errorOfItself struct{ inner error }
	list          struct {
		Value int
		Next  *list
	}
	errorOfMany    struct{ all []error }
	errorOfNames   map[string]error
	valuerOfItself struct{}
	selfPointer    *selfPointer
)

func (m *marshalsItself) MarshalJSON() ([]byte, error) { return []byte(`{"name":"own JSON"}`), nil }

func (s textsItself) MarshalText() ([]byte, error) { return []byte("own text"), nil }

func (m mapOfItself) MarshalJSON() ([]byte, error) { return []byte(`"own JSON of a map"`), nil }

func (p *pointerNamed) String() string { return fmt.Sprintf("pointer to %v", p.Self) }

func (e *errorOfItself) Error() string { return "inner: " + e.inner.Error() }

func (e *errorOfMany) Error() string { return errors.Join(e.all...).Error() }

func (e errorOfNames) Error() string { return fmt.Sprint(map[string]error(e)) }

func (v valuerOfItself) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("l", v), slog.Any("r", v))
}

// selfHolding are values that lead back to themselves, or into an endless tree, when they are
// followed.
func selfHolding() map[string]any {
	marshaler := &marshalsItself{}
	marshaler.Self = []any{*marshaler, marshaler}
	texts := &textsItself{}
	texts.Self = []any{texts}
	byValue := textsItself{Self: map[string]any{}}
	byValue.Self.(map[string]any)["self"] = byValue
	ofMap := mapOfItself{}
	ofMap["self"] = ofMap
	named := &pointerNamed{}
	named.Self = []any{named}
	wrapped := &errorOfItself{}
	wrapped.inner = &errorOfItself{inner: wrapped}
	many := &errorOfMany{}
	for range 3000 {
		many.all = append(many.all, errors.New("no stock"))
	}
	many.all = append(many.all, many)
	names := errorOfNames{}
	names["self"] = names
	wide := []any{make([]any, 200), nil}
	wide[1] = wide
	ring := &list{Value: 1}
	ring.Next = &list{2, ring}
	var shared any = "leaf"
	for range 20 {
		shared = map[string]any{"l": shared, "r": shared}
	}
	keys := map[any]any{}
	keys["k"] = keys
	keys[&keys] = 1
	var pointer selfPointer
	pointer = &pointer
	var group slog.Value
	members := []slog.Attr{{Key: "m"}, {Key: "n"}}
	members[0].Value, members[1].Value = slog.GroupValue(members...), slog.GroupValue(members...)
	group = slog.GroupValue(members...)
	return map[string]any{
		"MarshalJSON": marshaler, "MarshalText": texts, "MarshalText by value": byValue,
		"a map with MarshalJSON": ofMap,
		"String of a pointer":    named, "that pointer's value": *named, "an error inside": []any{wrapped},
		"an error of many": []any{many}, "an error that is a map": []any{names}, "a wide slice": wide,
		"a ring": ring, "shared subtrees": shared, "keys": keys, "a pointer to itself": pointer, "groups": group,
		"LogValue": valuerOfItself{}, "reached by a pointer": &wide, "in a group": slog.GroupValue(slog.Any("g", wide)),
		"in a struct": struct {
			A any
			b any
		}{wide, wide},
	}
}
