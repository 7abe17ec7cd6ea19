// Command request measures what telemetry adds to an HTTP request with one child span: time, memory and allocations, of
// this library and of otelhttp over the stock SDK.
//
//	go run -C benchmarks ./request
//	go run -C benchmarks ./request -requests 2000 -rounds 3
//
// All sides live in one process and serve the same request through an http.ServeMux, in memory, without a network and with
// exporters that discard. They take turns in each round; the cost of the plain handler in that round is subtracted, ratios
// are taken within the round, and medians are printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/fleetotel/telemetry/benchmarks/internal/report"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "request:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("request", flag.ContinueOnError)
	requests := flags.Int("requests", 20_000, "requests of each side in a round")
	rounds := flags.Int("rounds", 9, "rounds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *requests < 1 || *rounds < 1 {
		return fmt.Errorf("-requests is %d and -rounds is %d, want at least 1", *requests, *rounds)
	}
	sides, closeAll, err := newSides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()

	measured := make([][]cost, len(sides)) // by side and round
	for round := range *rounds + 1 {       // the first one fills pools and caches
		for i, s := range sides {
			c := measure(s.handler, *requests)
			if round > 0 {
				measured[i] = append(measured[i], c)
			}
		}
	}
	table(out, sides, measured)
	fmt.Fprintf(out, "\nWhat telemetry adds to a request with one child span: medians of %d rounds of %s requests, the plain handler subtracted.\n",
		*rounds, report.Count(int64(*requests)))
	return nil
}

// cost is what one request takes.
type cost struct{ nanos, bytes, allocs float64 }

func (c cost) minus(plain cost) cost {
	return cost{c.nanos - plain.nanos, c.bytes - plain.bytes, c.allocs - plain.allocs}
}

// measure serves requests one after the other, as a connection does.
func measure(handler http.Handler, requests int) cost {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	for range requests {
		handler.ServeHTTP(&recorder{header: http.Header{}}, &http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: "/orders/4711", RawQuery: "expand=items"}, Host: "shop.example",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"User-Agent": {"benchmark/1.0"}},
			Body: http.NoBody, RemoteAddr: "192.0.2.1:1234",
		})
	}
	elapsed := time.Since(begin)
	runtime.ReadMemStats(&after)
	n := float64(requests)
	return cost{float64(elapsed.Nanoseconds()) / n, float64(after.TotalAlloc-before.TotalAlloc) / n, float64(after.Mallocs-before.Mallocs) / n}
}

// recorder is a ResponseWriter that forgets what is written.
type recorder struct{ header http.Header }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// table prints each side beside the one that it is compared with.
func table(out io.Writer, sides []side, measured [][]cost) {
	var t report.Table
	t.Row("side", "µs", "bytes", "allocations", "against", "time ÷", "bytes ÷", "allocations ÷")
	for i, s := range sides {
		if s.against == nil {
			continue
		}
		var own, ratios [3][]float64
		for round := range measured[i] {
			plain := measured[0][round]
			mine, other := measured[i][round].minus(plain), measured[s.index(sides)][round].minus(plain)
			for k, pair := range [3][2]float64{{mine.nanos, other.nanos}, {mine.bytes, other.bytes}, {mine.allocs, other.allocs}} {
				own[k], ratios[k] = append(own[k], pair[0]), append(ratios[k], pair[0]/pair[1])
			}
		}
		t.Row(s.name, fmt.Sprintf("%.2f", report.Median(own[0])/1000), fmt.Sprintf("%.0f", report.Median(own[1])), fmt.Sprintf("%.1f", report.Median(own[2])),
			*s.against, fmt.Sprintf("%.2f", report.Median(ratios[0])), fmt.Sprintf("%.2f", report.Median(ratios[1])), fmt.Sprintf("%.2f", report.Median(ratios[2])))
	}
	t.Write(out)
}
