// Command job is a batch job that runs for tens of milliseconds, continues the trace of the process
// that started it, and loses no telemetry. It settles a day's payments, merchant by merchant.
//
//	go run ./examples/job
//
// acts as the scheduler: it starts an OTLP collector in this process, then itself again as the job
// with TRACEPARENT in its environment, and prints what arrived (exit status 1 if that differs from
// what was sent).
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/job
//
// runs only the job, as a scheduler does. If TRACEPARENT is set, the job is part of the scheduler's
// trace. The exit status says how the settlement went; a telemetry problem does not change it.
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

	"github.com/fleetotel/telemetry/examples/internal/destination"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From one second after the first signal, Ctrl-C ends the process at once. Repeats before that
	// are ignored, because timeout(1) sends each signal twice: to the process and to its group.
	context.AfterFunc(ctx, func() { time.Sleep(time.Second); signal.Reset(os.Interrupt) })
	// All other deferred calls are in run, because os.Exit skips them: a Shutdown deferred here
	// would never run.
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "job:", err)
		os.Exit(1)
	}
}

// run is the whole program. It stops when ctx is canceled.
func run(ctx context.Context, out io.Writer, args []string) error {
	set, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	if variable, _ := destination.FromEnvironment(); variable == "" && os.Getenv("TRACEPARENT") == "" {
		return schedule(ctx, out, args)
	}
	return job(ctx, out, set)
}

// settings are the command-line flags.
type settings struct {
	payments string
	pace     time.Duration
}

func parse(args []string, out io.Writer) (settings, error) {
	var set settings
	flags := flag.NewFlagSet("job", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&set.payments, "payments", "",
		"the CSV `file` with the day's payments (default: one of 40 payments that is built in)")
	flags.DurationVar(&set.pace, "pace", 5*time.Millisecond,
		"the rest after each merchant, for the sake of a bank that does not like haste")
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	if flags.NArg() > 0 {
		return set, fmt.Errorf("%q is not a flag; -help lists them", flags.Arg(0))
	}
	if set.pace < 0 {
		return set, fmt.Errorf("-pace %v: want 0 or more", set.pace)
	}
	return set, nil
}
