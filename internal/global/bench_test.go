package global_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/global"
)

type operation struct {
	name string
	run  func()
}

// operations is what services do all day, against the given providers.
func operations(t testing.TB, tp trace.TracerProvider, mp metric.MeterProvider, lp log.LoggerProvider) []operation {
	t.Helper()
	ctx := context.Background()
	tracer, logger, meter := tp.Tracer("x"), lp.Logger("x"), mp.Meter("x")
	ic, err := meter.Int64Counter("ic")
	require.NoError(t, err)
	iu, err := meter.Int64UpDownCounter("iu")
	require.NoError(t, err)
	ih, err := meter.Int64Histogram("ih")
	require.NoError(t, err)
	ig, err := meter.Int64Gauge("ig")
	require.NoError(t, err)
	fc, err := meter.Float64Counter("fc")
	require.NoError(t, err)
	fu, err := meter.Float64UpDownCounter("fu")
	require.NoError(t, err)
	fh, err := meter.Float64Histogram("fh")
	require.NoError(t, err)
	fg, err := meter.Float64Gauge("fg")
	require.NoError(t, err)
	set := metric.WithAttributeSet(attribute.NewSet(attribute.String("method", "GET"), attribute.Int("status", 200)))
	add, record := []metric.AddOption{set}, []metric.RecordOption{set}
	var r log.Record
	r.SetBody(attribute.StringValue("hello"))
	return []operation{
		{"Int64Counter", func() { ic.Add(ctx, 1, add...) }},
		{"Int64CounterPlain", func() { ic.Add(ctx, 1) }},
		{"Int64UpDownCounter", func() { iu.Add(ctx, 1, add...) }},
		{"Int64Histogram", func() { ih.Record(ctx, 1, record...) }},
		{"Int64Gauge", func() { ig.Record(ctx, 1, record...) }},
		{"Float64Counter", func() { fc.Add(ctx, 1, add...) }},
		{"Float64UpDownCounter", func() { fu.Add(ctx, 1, add...) }},
		{"Float64Histogram", func() { fh.Record(ctx, 1, record...) }},
		{"Float64Gauge", func() { fg.Record(ctx, 1, record...) }},
		{"CounterEnabled", func() { ic.Enabled(ctx) }},
		{"Span", func() { _, s := tracer.Start(ctx, "s"); s.End() }},
		{"LogEmit", func() { logger.Emit(ctx, r) }},
		{"LogEnabled", func() { logger.Enabled(ctx, log.EnabledParameters{Severity: log.SeverityInfo}) }},
		{"TracerAgain", func() { tp.Tracer("x") }},
		{"MeterAgain", func() { mp.Meter("x") }},
		{"LoggerAgain", func() { lp.Logger("x") }},
		{"InstrumentAgain", func() { _, _ = meter.Int64Counter("ic") }},
	}
}

type discard struct{ recordProcessor }

func (*discard) OnEmit(context.Context, *sdklog.Record) error { return nil }

func sdkAndSwitching(t testing.TB) (sdk, switching []operation) {
	t.Helper()
	tp := sdktrace.NewTracerProvider()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(&discard{}))
	p := global.New()
	p.Use(tp, mp, lp)
	return operations(t, tp, mp, lp), operations(t, p.TracerProvider(), p.MeterProvider(), p.LoggerProvider())
}

// Not parallel: AllocsPerRun counts the whole process.
func TestNoAllocationsOfOurOwn(t *testing.T) {
	sdk, switching := sdkAndSwitching(t)
	for i := range sdk {
		require.LessOrEqual(t, testing.AllocsPerRun(500, switching[i].run), testing.AllocsPerRun(500, sdk[i].run),
			sdk[i].name)
	}
	for _, o := range switching {
		switch o.name {
		case "TracerAgain", "MeterAgain", "LoggerAgain":
			require.Zero(t, testing.AllocsPerRun(500, o.run), o.name)
		}
	}
}

// BenchmarkSwitching puts each operation through the switching providers beside the same operation
// on the SDK.
func BenchmarkSwitching(b *testing.B) {
	sdk, switching := sdkAndSwitching(b)
	for i := range sdk {
		for _, o := range []operation{{"SDK", sdk[i].run}, {"Switching", switching[i].run}} {
			b.Run(sdk[i].name+"/"+o.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					o.run()
				}
			})
		}
	}
}

func BenchmarkParallel(b *testing.B) {
	sdk, switching := sdkAndSwitching(b)
	for i := range sdk {
		switch sdk[i].name {
		case "Int64Counter", "CounterEnabled", "TracerAgain", "InstrumentAgain":
			for _, o := range []operation{{"SDK", sdk[i].run}, {"Switching", switching[i].run}} {
				b.Run(sdk[i].name+"/"+o.name, func(b *testing.B) {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							o.run()
						}
					})
				})
			}
		}
	}
}
