package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// shop is a service whose requests only make spans.
type shop struct {
	collector *otlptest.Collector
	guard     *telemetry.Guard
	tracer    trace.Tracer
	requests  atomic.Int64
	failed    atomic.Int64
}

func openShop(ctx context.Context, target float64) (*shop, error) {
	collector, err := otlptest.Start()
	if err != nil {
		return nil, err
	}
	guard, err := telemetry.Init(ctx, telemetry.WithServiceName("shop"),
		telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: target}),
		telemetry.WithProtocol(telemetry.ProtocolHTTP), telemetry.WithEndpoint(collector.HTTPEndpoint()),
		telemetry.WithoutMetrics(), telemetry.WithoutLogs(), telemetry.WithoutGlobals(),
		telemetry.WithLogOutput(io.Discard),
		telemetry.WithSpanBatch(telemetry.Batch{ScheduleDelay: 100 * time.Millisecond}))
	if err != nil {
		return nil, errors.Join(err, guard.Shutdown(ctx), collector.Close())
	}
	return &shop{collector: collector, guard: guard, tracer: guard.TracerProvider().Tracer("shop")}, nil
}

func (s *shop) close() {
	_ = s.guard.Shutdown(context.Background())
	_ = s.collector.Close()
}

// serve runs the steps and prints a line per second.
func (s *shop) serve(ctx context.Context, out io.Writer, steps []step) error {
	fmt.Fprintf(out, "%8s %12s %12s %14s %14s\n", "second", "requests/s", "traces/s", "failed so far", "of them kept")
	const slice = 10 * time.Millisecond
	ticker := time.NewTicker(slice)
	defer ticker.Stop()
	started, nextLine := time.Now(), time.Now().Add(time.Second)
	var before totals
	requestsBefore := int64(0)
	for _, st := range steps {
		fmt.Fprintf(out, "%v:\n", st)
		due, burst := 0.0, time.Now()
		for begin := time.Now(); time.Since(begin) < st.length; {
			select {
			case <-ctx.Done():
				fmt.Fprintln(out, "interrupted: this is what there was until now")
				return s.guard.ForceFlush(context.Background())
			case <-ticker.C:
			}
			if st.every == 0 {
				due += float64(st.rate) * slice.Seconds()
			} else if now := time.Now(); !now.Before(burst) {
				due += float64(st.rate) * st.every.Seconds()
				burst = burst.Add(st.every)
			}
			for ; due >= 1; due-- {
				s.handle(ctx)
			}
			if time.Now().After(nextLine) {
				nextLine = nextLine.Add(time.Second)
				now, requests := s.totals(), s.requests.Load()
				fmt.Fprintf(out, "%8.0f %12d %12d %14d %14d\n", time.Since(started).Seconds(), requests-requestsBefore,
					now.traces-before.traces, s.failed.Load(), now.failedTraces)
				before, requestsBefore = now, requests
			}
		}
	}
	return s.guard.ForceFlush(ctx)
}

// handle is one request: a span with a child. One in a hundred fails. Nine in ten have the same
// operation.
func (s *shop) handle(ctx context.Context) {
	n := s.requests.Add(1)
	name := "GET /products"
	if n%10 == 0 {
		name = "POST /orders"
	}
	ctx, request := s.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	defer request.End()
	_, query := s.tracer.Start(ctx, "query", trace.WithSpanKind(trace.SpanKindClient))
	defer query.End()
	if n%100 == 50 {
		s.failed.Add(1)
		query.SetStatus(codes.Error, "deadlock")
		request.SetStatus(codes.Error, "internal error")
	}
}
