// Package load offers spans and log records at a steady rate, as a service under traffic does.
package load

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/trace"
)

// Signals, in the words of the command line.
const (
	Spans   = "spans"
	Records = "logs"
)

// tick is how often a producer looks at the clock: short against the time in which a queue fills.
const tick = 2 * time.Millisecond

// Offered is what a run has offered.
type Offered struct {
	Items int64
	Took  time.Duration
	// Late is how far the worst producer once fell behind its schedule, because it did not get a
	// processor. It then catches up at once: a queue sees that as a burst of Late × rate items.
	Late time.Duration
}

// Run calls emit at the given rate, with consecutive numbers and from several goroutines, until the
// time is over or ctx ends. The loop is open: what is due is offered whether or not anything can
// take it, and never left out.
func Run(ctx context.Context, rate int, duration time.Duration, producers int, emit func(i int64)) Offered {
	var (
		next  atomic.Int64
		late  atomic.Int64
		wg    sync.WaitGroup
		start = time.Now()
	)
	for p := range producers {
		share := Share(rate, producers, p)
		wg.Go(func() {
			var done int64
			for ctx.Err() == nil {
				elapsed := min(time.Since(start), duration)
				due := Due(share, elapsed)
				if behind := Behind(share, done, elapsed); behind > time.Duration(late.Load()) {
					late.Store(int64(behind)) // a lost race loses a reading of a few milliseconds
				}
				for ; done < due; done++ {
					emit(next.Add(1) - 1)
				}
				if elapsed >= duration {
					return
				}
				time.Sleep(tick)
			}
		})
	}
	wg.Wait()
	return Offered{Items: next.Load(), Took: time.Since(start), Late: time.Duration(late.Load())}
}

// Share splits a rate between producers without losing the remainder.
func Share(rate, producers, producer int) int {
	return (rate*(producer+1))/producers - (rate*producer)/producers
}

// Due is how many items a producer of this rate has to have offered by then.
func Due(rate int, elapsed time.Duration) int64 {
	return int64(elapsed) / int64(time.Millisecond) * int64(rate) / 1000
}

// Behind is how long ago the next item was due, beyond the tick that every item may wait.
func Behind(rate int, done int64, elapsed time.Duration) time.Duration {
	if rate <= 0 {
		return 0
	}
	at := time.Duration(done) * time.Second / time.Duration(rate)
	return max(elapsed-at-tick, 0)
}

// Emitter makes items of one signal, the same for every pipeline that is measured: five attributes,
// one of them different in each item, as a request's identifiers are.
func Emitter(signal string, tracer trace.Tracer, logger log.Logger) func(i int64) {
	ctx := context.Background()
	if signal == Records {
		return func(i int64) {
			var r log.Record
			r.SetTimestamp(time.Now())
			r.SetSeverity(log.SeverityInfo)
			r.SetSeverityText("INFO")
			r.SetBody(attribute.StringValue("order placed"))
			r.AddAttributes(attributes(i)...)
			logger.Emit(ctx, r)
		}
	}
	return func(i int64) {
		_, span := tracer.Start(ctx, "GET /orders/{id}", trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attributes(i)...))
		span.End()
	}
}

func attributes(i int64) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", "GET"),
		attribute.String("http.route", "/orders/{id}"),
		attribute.Int("http.response.status_code", 200),
		attribute.String("url.path", "/orders/"+strconv.FormatInt(i, 10)),
		attribute.Int("server.port", 8080),
	}
}
