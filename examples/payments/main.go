// Command payments is a small payment system with real parts: an HTTP service, a payment gateway
// behind a second HTTP server, and a SQLite database. The telemetry library traces, measures and
// logs each of them.
//
//	go run ./examples/payments
//
// starts an OTLP collector in the same process, sends 200 requests and prints what arrived: one
// trace as a tree, the metrics, one log line, and totals that must add up (exit status 1 if they do
// not).
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/payments
//
// sends the telemetry to your collector instead. To try the service by hand, and stop it with
// Ctrl-C:
//
//	go run ./examples/payments -serve
//	curl -d '{"amount": 49.90, "currency": "EUR"}' http://127.0.0.1:8080/api/payments
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From one second after the first signal, Ctrl-C ends the process at once. Signals before that
	// are ignored, because timeout(1) sends each signal twice: to the process and to its group.
	context.AfterFunc(ctx, func() { time.Sleep(time.Second); signal.Reset(os.Interrupt) })
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

// run is the whole program. If ctx is canceled, it accepts no new requests, finishes those in
// progress, and delivers all telemetry before it returns.
func run(ctx context.Context, out io.Writer, args []string) error {
	set, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case set.serve:
		return serve(ctx, out, set)
	default:
		return demonstrate(ctx, out, set)
	}
}

// settings are the command-line flags.
type settings struct {
	serve        bool
	addr         string
	requests     int
	db           string
	gatewayDelay time.Duration
}

// maxRequests keeps the in-process collector, which stores every span, within about 100 MB.
const maxRequests = 10_000

func parse(args []string, out io.Writer) (settings, error) {
	var set settings
	flags := flag.NewFlagSet("payments", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.BoolVar(&set.serve, "serve", false, "keep serving until SIGTERM or Ctrl-C instead of sending requests")
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8080", "with -serve: the `address` to listen on")
	flags.IntVar(&set.requests, "requests", 200, "how many requests to send")
	flags.StringVar(&set.db, "db", "", "the SQLite `file` (default: one in a temporary directory)")
	flags.DurationVar(&set.gatewayDelay, "gateway-delay", 3*time.Millisecond,
		"how long the bank behind the gateway thinks")
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	if flags.NArg() > 0 {
		return set, fmt.Errorf("%q is not a flag; -help lists them", flags.Arg(0))
	}
	if set.requests < 1 || set.requests > maxRequests {
		return set, fmt.Errorf("-requests %d: want 1 to %d", set.requests, maxRequests)
	}
	if set.gatewayDelay < 0 {
		return set, fmt.Errorf("-gateway-delay %v: want 0 or more", set.gatewayDelay)
	}
	return set, nil
}
