package global_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/global"
)

// stages runs step once before the first Use, once with each of two backends, and once in every
// gap.
func stages(step func(p *global.Providers, stage string)) (first, second *backend) {
	p := global.New()
	first, second = newBackend(), newBackend()
	step(p, "before")
	p.Use(first.traces, first.metrics, first.logs)
	step(p, "first")
	p.Use(nil, nil, nil)
	step(p, "between")
	p.Use(second.traces, second.metrics, second.logs)
	step(p, "second")
	p.Use(nil, nil, nil)
	step(p, "after")
	return first, second
}

func TestTracersFollow(t *testing.T) {
	t.Parallel()
	tracers := map[string]trace.Tracer{}
	first, second := stages(func(p *global.Providers, stage string) {
		tracers[stage] = p.TracerProvider().Tracer(stage)
		for made, tracer := range tracers {
			_, span := tracer.Start(t.Context(), made+"-"+stage)
			require.Equal(t, stage == "first" || stage == "second", span.IsRecording(), "%s in %s", made, stage)
			span.End()
		}
	})
	require.ElementsMatch(t, []string{"before-first", "first-first"}, first.spanNames())
	require.ElementsMatch(t,
		[]string{"before-second", "first-second", "between-second", "second-second"}, second.spanNames())
}

func TestLoggersFollow(t *testing.T) {
	t.Parallel()
	loggers := map[string]log.Logger{}
	first, second := stages(func(p *global.Providers, stage string) {
		loggers[stage] = p.LoggerProvider().Logger(stage)
		for made, logger := range loggers {
			real := stage == "first" || stage == "second"
			require.Equal(t, real, logger.Enabled(t.Context(), log.EnabledParameters{Severity: log.SeverityInfo}))
			require.False(t, logger.Enabled(t.Context(), log.EnabledParameters{Severity: log.SeverityDebug}),
				"the parameters reach the SDK")
			var r log.Record
			r.SetBody(attribute.StringValue(made + "-" + stage))
			logger.Emit(t.Context(), r)
		}
	})
	require.ElementsMatch(t, []string{"before-first", "first-first"}, first.records.bodies())
	require.ElementsMatch(t,
		[]string{"before-second", "first-second", "between-second", "second-second"}, second.records.bodies())
}

func TestScopesAndSpanOptionsSurvive(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	attr := attribute.String("team", "checkout")
	tracer := p.TracerProvider().Tracer("scope", trace.WithInstrumentationVersion("1.2"), trace.WithSchemaURL("schema"),
		trace.WithInstrumentationAttributes(attr))
	logger := p.LoggerProvider().Logger("scope", log.WithInstrumentationVersion("1.2"), log.WithSchemaURL("schema"),
		log.WithInstrumentationAttributes(attr))
	meter := p.MeterProvider().Meter("scope", metric.WithInstrumentationVersion("1.2"), metric.WithSchemaURL("schema"),
		metric.WithInstrumentationAttributes(attr))
	counter, err := meter.Int64Counter("c")
	require.NoError(t, err)
	p.Use(b.traces, b.metrics, b.logs)

	start := time.Unix(1_700_000_000, 0)
	ctx, parent := tracer.Start(t.Context(), "parent")
	_, child := tracer.Start(ctx, "child", trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(start),
		trace.WithAttributes(attribute.Int("n", 7)), trace.WithLinks(trace.LinkFromContext(ctx)))
	child.End()
	var r log.Record
	r.SetSeverity(log.SeverityWarn)
	r.AddAttributes(attribute.Int("n", 7))
	logger.Emit(ctx, r)
	counter.Add(ctx, 1)

	ended := b.spans.Ended()
	require.Len(t, ended, 1)
	span := ended[0]
	require.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID())
	require.Equal(t, trace.SpanKindClient, span.SpanKind())
	require.Equal(t, start, span.StartTime())
	require.Equal(t, []attribute.KeyValue{attribute.Int("n", 7)}, span.Attributes())
	require.Equal(t, parent.SpanContext().SpanID(), span.Links()[0].SpanContext.SpanID())

	record := b.records.records[0]
	require.Equal(t, log.SeverityWarn, record.Severity())
	require.Equal(t, parent.SpanContext().SpanID(), record.SpanID())
	require.Equal(t, 1, record.AttributesLen())

	for signal, scope := range map[string]struct {
		name, version, schema string
		attrs                 attribute.Set
	}{
		"traces": {span.InstrumentationScope().Name, span.InstrumentationScope().Version,
			span.InstrumentationScope().SchemaURL, span.InstrumentationScope().Attributes},
		"logs": {record.InstrumentationScope().Name, record.InstrumentationScope().Version,
			record.InstrumentationScope().SchemaURL, record.InstrumentationScope().Attributes},
		"metrics": func() (s struct {
			name, version, schema string
			attrs                 attribute.Set
		}) {
			got := b.collect(t)[0].Scope
			s.name, s.version, s.schema, s.attrs = got.Name, got.Version, got.SchemaURL, got.Attributes
			return s
		}(),
	} {
		require.Equal(t, "scope", scope.name, signal)
		require.Equal(t, "1.2", scope.version, signal)
		require.Equal(t, "schema", scope.schema, signal)
		require.Equal(t, []attribute.KeyValue{attr}, scope.attrs.ToSlice(), signal)
	}
}

func TestCallersOptionSliceIsNotKept(t *testing.T) {
	t.Parallel()
	p, b := global.New(), newBackend()
	options := []trace.TracerOption{trace.WithInstrumentationVersion("mine")}
	tracer := p.TracerProvider().Tracer("x", options...)
	options[0] = trace.WithInstrumentationVersion("overwritten")
	p.Use(b.traces, b.metrics, b.logs)
	_, span := tracer.Start(t.Context(), "s")
	span.End()
	require.Equal(t, "mine", b.spans.Ended()[0].InstrumentationScope().Version)
}

func TestSameScopeSameHandle(t *testing.T) {
	t.Parallel()
	p := global.New()
	tp, mp, lp := p.TracerProvider(), p.MeterProvider(), p.LoggerProvider()
	a, nan := attribute.String("a", "1"), attribute.Float64("f", nan())

	base := tp.Tracer("x", trace.WithInstrumentationVersion("1"), trace.WithInstrumentationAttributes(a, nan))
	require.Same(t, base, tp.Tracer("x", trace.WithInstrumentationAttributes(nan, a),
		trace.WithInstrumentationVersion("1")))
	for i, other := range []trace.Tracer{
		tp.Tracer("y", trace.WithInstrumentationVersion("1"), trace.WithInstrumentationAttributes(a, nan)),
		tp.Tracer("x", trace.WithInstrumentationVersion("2"), trace.WithInstrumentationAttributes(a, nan)),
		tp.Tracer("x", trace.WithInstrumentationVersion("1"), trace.WithInstrumentationAttributes(a)),
		tp.Tracer("x", trace.WithInstrumentationVersion("1"), trace.WithInstrumentationAttributes(a, nan),
			trace.WithSchemaURL("s")),
	} {
		require.NotSame(t, base, other, i)
	}
	require.Same(t, mp.Meter("x", metric.WithInstrumentationAttributes(a)),
		mp.Meter("x", metric.WithInstrumentationAttributes(a)))
	require.NotSame(t, mp.Meter("x"), mp.Meter("x", metric.WithSchemaURL("s")))
	require.Same(t, lp.Logger("x", log.WithInstrumentationAttributes(a)),
		lp.Logger("x", log.WithInstrumentationAttributes(a)))
	require.NotSame(t, lp.Logger("x"), lp.Logger("x", log.WithInstrumentationVersion("2")))
}

// Not parallel: it measures the heap.
func TestAskingAgainDoesNotGrowMemory(t *testing.T) {
	p, b := global.New(), newBackend()
	p.Use(b.traces, b.metrics, b.logs)
	ask := func(n int) {
		for range n {
			p.TracerProvider().Tracer("x", trace.WithInstrumentationVersion("1"))
			p.LoggerProvider().Logger("x", log.WithInstrumentationVersion("1"))
			m := p.MeterProvider().Meter("x", metric.WithInstrumentationVersion("1"))
			_, _ = m.Int64Counter("c", metric.WithUnit("1"))
			_, _ = m.Float64Histogram("h", metric.WithExplicitBucketBoundaries(1, 2, 3, nan()))
			_, _ = m.Int64ObservableGauge("g", metric.WithInt64Callback(
				func(context.Context, metric.Int64Observer) error { return nil }))
			r, _ := m.RegisterCallback(func(context.Context, metric.Observer) error { return nil })
			_ = r.Unregister()
		}
	}
	ask(100)
	before := heapObjects()
	ask(5_000)
	require.Less(t, int64(heapObjects())-int64(before), int64(1_000))
}

func heapObjects() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapObjects
}

func TestProviderOutOfUseIsNotKept(t *testing.T) {
	t.Parallel()
	p := global.New()
	meter := p.MeterProvider().Meter("x")
	gauge, err := meter.Int64ObservableGauge("g")
	require.NoError(t, err)
	_, err = meter.RegisterCallback(func(context.Context, metric.Observer) error { return nil }, gauge)
	require.NoError(t, err)
	old := func() weak.Pointer[sdkmetric.MeterProvider] {
		b := newBackend()
		p.Use(b.traces, b.metrics, b.logs)
		return weak.Make(b.metrics)
	}()
	require.NotNil(t, old.Value())
	p.Use(nil, nil, nil)
	require.Eventually(t, func() bool { runtime.GC(); return old.Value() == nil }, time.Second, time.Millisecond)
	runtime.KeepAlive(p)
}

func TestOwnProvidersAreTakenAsNil(t *testing.T) {
	t.Parallel()
	p := global.New()
	p.Use(p.TracerProvider(), p.MeterProvider(), p.LoggerProvider())
	_, span := p.TracerProvider().Tracer("x").Start(t.Context(), "s")
	require.False(t, span.IsRecording())
	c, err := p.MeterProvider().Meter("x").Int64Counter("c")
	require.NoError(t, err)
	require.False(t, c.Enabled(t.Context()))
	require.False(t, p.LoggerProvider().Logger("x").Enabled(t.Context(),
		log.EnabledParameters{Severity: log.SeverityFatal}))
}

// Whatever is recorded while providers are switched arrives at exactly one of them.
func TestRecordingWhileSwitchingConcurrentSafe(t *testing.T) {
	t.Parallel()
	const workers, rounds = 4, 120
	p := global.New()
	backends := []*backend{newBackend(), newBackend(), newBackend()}
	use := func(i int) {
		b := backends[i%len(backends)]
		p.Use(b.traces, b.metrics, b.logs)
	}
	use(0)
	tracer, logger := p.TracerProvider().Tracer("x"), p.LoggerProvider().Logger("x")
	counter, err := p.MeterProvider().Meter("x").Int64Counter("adds")
	require.NoError(t, err)

	var wg sync.WaitGroup
	var done atomic.Bool
	work := func(w, i int) error {
		ctx, span := tracer.Start(context.Background(), "span")
		span.End()
		logger.Emit(ctx, log.Record{})
		counter.Add(ctx, 1)
		// New scopes and instruments meet a switch under way; all workers ask for the same ones.
		meter := p.MeterProvider().Meter("scope " + strconv.Itoa(i%50))
		c, err := meter.Float64UpDownCounter("fresh" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		c.Add(ctx, 1)
		g, err := meter.Int64ObservableGauge("g"+strconv.Itoa(w), metric.WithInt64Callback(
			func(_ context.Context, o metric.Int64Observer) error { o.Observe(1); return nil }))
		if err != nil {
			return err
		}
		r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			o.ObserveInt64(g, 2)
			return nil
		}, g)
		if err != nil {
			return err
		}
		return r.Unregister()
	}
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				if err := work(w, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var switchers sync.WaitGroup
	for s := range 2 {
		switchers.Go(func() {
			for i := s; !done.Load(); i++ {
				use(i)
			}
		})
	}
	switchers.Go(func() {
		var rm metricdata.ResourceMetrics
		for i := 0; !done.Load(); i++ {
			_ = backends[i%len(backends)].reader.Collect(context.Background(), &rm)
		}
	})
	wg.Wait()
	done.Store(true)
	switchers.Wait()

	var spans, records int
	var adds, fresh float64
	for _, b := range backends {
		spans += len(b.spans.Ended())
		records += len(b.records.bodies())
		for _, s := range b.collect(t) {
			for _, m := range s.Metrics {
				switch m.Name[0] {
				case 'a':
					adds += value(t, m)
				case 'f':
					fresh += value(t, m)
				}
			}
		}
	}
	require.Equal(t, workers*rounds, spans)
	require.Equal(t, workers*rounds, records)
	require.InDelta(t, workers*rounds, adds, 0)
	require.InDelta(t, workers*rounds, fresh, 0)

	// After the storm everything points at the same, last provider.
	last := newBackend()
	p.Use(last.traces, last.metrics, last.logs)
	_, span := tracer.Start(t.Context(), "last")
	span.End()
	counter.Add(t.Context(), 5)
	require.Equal(t, []string{"last"}, last.spanNames())
	require.InDelta(t, 5, last.values(t)["adds"], 0)
}
