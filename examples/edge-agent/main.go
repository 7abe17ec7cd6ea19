// Command edge-agent reports processors, memory, disks and network of the machine it runs on. It is
// for machines with little memory and an unreliable link. It keeps data that it cannot deliver on
// disk, for days and across power cuts.
//
//	go run ./examples/edge-agent
//
// shows this in 15 seconds, with a collector that goes down and comes up again, and an agent that
// is killed in between. It prints the measurements and checks that nothing is missing (exit status
// 1 if something is).
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example:4318 edge-agent
//	edge-agent -serve
//
// runs the agent until SIGTERM; with -serve it sends to http://localhost:4318 unless the
// environment sets an endpoint.
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
	// From one second after the first signal, Ctrl-C ends the process at once. Signals before that
	// are ignored, because timeout(1) sends each signal twice: to the process and to its group.
	context.AfterFunc(ctx, func() { time.Sleep(time.Second); signal.Reset(os.Interrupt) })
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "edge-agent:", err)
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
	if variable, _ := destination.FromEnvironment(); set.serve || variable != "" {
		return serve(ctx, out, set)
	}
	return demonstrate(ctx, out)
}

// settings are the command-line flags.
type settings struct {
	serve      bool
	json       bool
	scan       time.Duration
	full       float64
	spool      string
	spoolBytes int64
}

func parse(args []string, out io.Writer) (settings, error) {
	var set settings
	flags := flag.NewFlagSet("edge-agent", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.BoolVar(&set.serve, "serve", false,
		"watch this machine until SIGTERM or Ctrl-C; also when the environment says where telemetry goes")
	flags.BoolVar(&set.json, "json", false,
		"with -serve: print each scan, the memory in use and at the end the books, as lines of JSON")
	flags.DurationVar(&set.scan, "scan", time.Minute, "the time between two scans")
	flags.Float64Var(&set.full, "full", 0.9,
		"the `share` of a file system or of the memory above which its use is logged")
	flags.StringVar(&set.spool, "spool", "",
		"the `directory` for what cannot be delivered (default: TELEMETRY_SPOOL_DIR, else one in the user's cache "+
			"directory)")
	flags.Int64Var(&set.spoolBytes, "spool-bytes", 0,
		"how many `bytes` it may hold (default: TELEMETRY_SPOOL_MAX_BYTES, else 64 MiB)")
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	switch {
	case flags.NArg() > 0:
		return set, fmt.Errorf("%q is not a flag; -help lists them", flags.Arg(0))
	case set.scan < 10*time.Millisecond:
		return set, fmt.Errorf("-scan %v: want 10ms or more", set.scan)
	case !(set.full >= 0 && set.full <= 1):
		return set, fmt.Errorf("-full %v: want a share from 0 to 1, such as 0.9 for 90 %%", set.full)
	case set.spoolBytes < 0:
		return set, fmt.Errorf("-spool-bytes %d: want 1 or more, or 0 for the default", set.spoolBytes)
	}
	return set, nil
}
