package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/benchmarks/internal/load"
	"github.com/fleetotel/telemetry/benchmarks/internal/report"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// fault is a way in which a collector fails.
type fault struct {
	name string
	// play makes the collector fail, until ctx ends, and heals it.
	play func(ctx context.Context, c *otlptest.Collector) error
	// refuses says that requests reach the collector and are not taken, which must then have been
	// seen.
	refuses bool
	// twice says over which protocols a request may be taken although its answer is lost.
	twice map[telemetry.Protocol]bool
}

func faults(s settings) []fault {
	during := func(f otlptest.Fault) func(context.Context, *otlptest.Collector) error {
		return func(ctx context.Context, c *otlptest.Collector) error {
			c.SetFault(f)
			<-ctx.Done()
			c.SetFault(otlptest.Fault{})
			return nil
		}
	}
	return []fault{
		{fmt.Sprintf("down for %s", s.outage), func(ctx context.Context, c *otlptest.Collector) error {
			err := c.Down()
			<-ctx.Done()
			return errors.Join(err, c.Up())
		}, false, map[telemetry.Protocol]bool{telemetry.ProtocolHTTP: true, telemetry.ProtocolGRPC: true}},
		{"cut mid-request", cutNowAndThen, true, map[telemetry.Protocol]bool{telemetry.ProtocolGRPC: true}},
		{"503", during(otlptest.Fault{HTTPStatus: http.StatusServiceUnavailable, GRPCCode: codes.Unavailable}), true,
			nil},
		{fmt.Sprintf("429, Retry-After %s", s.retryAfter), during(otlptest.Fault{
			HTTPStatus: http.StatusTooManyRequests, GRPCCode: codes.ResourceExhausted, RetryAfter: s.retryAfter,
		}), true, nil},
		{fmt.Sprintf("%s per request", s.slow), func(_ context.Context, c *otlptest.Collector) error {
			c.SetFault(otlptest.Fault{Delay: s.slow}) // to the end
			return nil
		}, false, nil},
	}
}

// cutNowAndThen resets the connection of one request of each signal in every interval.
func cutNowAndThen(ctx context.Context, c *otlptest.Collector) error {
	ticker := time.NewTicker(300 * time.Millisecond)
	defer ticker.Stop()
	for {
		c.SetFault(otlptest.Fault{Cut: true, Times: 1})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			c.SetFault(otlptest.Fault{})
			return nil
		}
	}
}

// result is one case and what came of it.
type result struct {
	fault    fault
	protocol telemetry.Protocol
	err      error // the case could not be played

	offered        int64
	late           time.Duration
	spans, records tally
	drained        time.Duration
	shutdown       error
	health         telemetry.Health
	refused        int // requests that were not taken
}

// tally is what arrived of one signal.
type tally struct{ different, twice int64 }

// count finds how many different items there are, and how many came again.
func count[T any](items []T, key func(T) string) (t tally) {
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		if k := key(item); seen[k] {
			t.twice++
		} else {
			seen[k] = true
			t.different++
		}
	}
	return t
}

// play offers the load to a collector that fails.
func (r *result) play(ctx context.Context, s settings) error {
	c, err := otlptest.Start()
	if err != nil {
		return err
	}
	defer c.Close() // the process ends
	guard, err := telemetry.Init(ctx, telemetry.WithoutGlobals(), telemetry.WithServiceName("outage"),
		telemetry.WithEndpoint(c.Endpoint(string(r.protocol))), telemetry.WithProtocol(r.protocol),
		telemetry.WithSampler(sdktrace.AlwaysSample()), telemetry.WithLogOutput(io.Discard),
		telemetry.WithShutdownTimeout(time.Minute))
	if err != nil {
		return err
	}
	played := make(chan error, 1)
	go func() {
		time.Sleep(s.duration / 10)
		failing, heal := context.WithTimeout(ctx, s.outage)
		defer heal()
		played <- r.fault.play(failing, c)
	}()
	offered := load.Run(ctx, s.rate, s.duration, 1, emit(guard))
	r.offered, r.late = offered.Items, offered.Late
	last := time.Now()
	if err := <-played; err != nil {
		return err
	}
	r.shutdown = guard.Shutdown(ctx)
	r.drained = time.Since(last)
	r.health = guard.Health()
	r.spans = count(c.Spans(), func(s otlptest.Span) string { return s.TraceID + s.SpanID })
	r.records = count(c.LogRecords(), func(l otlptest.LogRecord) string { return fmt.Sprint(l.Attributes["number"]) })
	for _, request := range c.Requests() {
		if !request.Accepted {
			r.refused++
		}
	}
	return nil
}

// emit makes one span and one record.
func emit(guard *telemetry.Guard) func(int64) {
	tracer, logger := guard.TracerProvider().Tracer("outage"), guard.LoggerProvider().Logger("outage")
	return func(i int64) {
		ctx, span := tracer.Start(context.Background(), "GET /orders/{id}", trace.WithAttributes(
			attribute.String("http.route", "/orders/{id}"), attribute.Int64("number", i)))
		var record log.Record
		record.SetTimestamp(time.Now())
		record.SetSeverity(log.SeverityInfo)
		record.SetBody(attribute.StringValue("order placed"))
		record.AddAttributes(attribute.Int64("number", i))
		logger.Emit(ctx, record)
		span.End()
	}
}

// judge returns what is wrong.
func (r *result) judge() error {
	if r.err != nil {
		return r.err
	}
	errs := []error{r.shutdown}
	if r.fault.refuses && r.refused == 0 {
		errs = append(errs, errors.New("the collector had no request to refuse"))
	}
	for signal, t := range map[string]tally{"spans": r.spans, "records": r.records} {
		if t.different != r.offered {
			errs = append(errs, fmt.Errorf("%d of %d %s have not arrived", r.offered-t.different, r.offered, signal))
		}
		if t.twice > 0 && !r.fault.twice[r.protocol] {
			errs = append(errs, fmt.Errorf("%d %s arrived twice", t.twice, signal))
		}
	}
	for signal, h := range map[string]telemetry.SignalHealth{"traces": r.health.Traces, "metrics": r.health.Metrics,
		"logs": r.health.Logs} {
		errs = append(errs, report.Identity(signal, h))
		if h.Lost() > 0 || h.Queued > 0 {
			errs = append(errs, fmt.Errorf("%s, by Health: %d lost, %d still queued: %w", signal, h.Lost(), h.Queued,
				h.LastError))
		}
	}
	return errors.Join(errs...)
}

func (r *result) cells() []string {
	arrived := func(t tally) string { return report.Count(t.different) + "/" + report.Count(r.offered) }
	books, verdict := "balance", "complete"
	for signal, h := range map[string]telemetry.SignalHealth{"traces": r.health.Traces, "metrics": r.health.Metrics,
		"logs": r.health.Logs} {
		if report.Identity(signal, h) != nil {
			books = "WRONG"
		}
	}
	if r.judge() != nil {
		verdict = "FAILED"
	}
	return []string{
		r.fault.name, report.Short(r.protocol),
		arrived(r.spans), strconv.FormatInt(r.spans.twice, 10), arrived(r.records),
		strconv.FormatInt(r.records.twice, 10),
		r.drained.Round(10 * time.Millisecond).String(), books, verdict,
	}
}
