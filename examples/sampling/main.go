// Command sampling shows the adaptive sampler at work: a load that steps from 20 to 2,000 requests
// per second and back, and then comes in bursts. One request in a hundred fails. It shows what a
// collector in the same process receives.
//
//	go run ./examples/sampling
//
// prints a line per second: how many requests there were, how many traces were kept, and how many
// of the failed ones. At the end it estimates, from the spans that arrived and their weights alone,
// how many requests and failures there were, next to the true numbers. A step of the load keeps
// more in its first second, until the burst budget is used up. The bursts, 400 requests at once
// every two seconds, are sampled by the usual rate.
//
//	go run ./examples/sampling -target 10 -phase 10s
//
// keeps 10 traces per second and takes ten seconds for each step.
package main

import (
	"context"
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
	// From one second after the first signal, Ctrl-C ends the process at once. Repeats before that
	// are ignored, because timeout(1) sends each signal twice: to the process and to its group.
	context.AfterFunc(ctx, func() { time.Sleep(time.Second); signal.Reset(os.Interrupt) })
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sampling:", err)
		os.Exit(1)
	}
}

// step is one part of the load.
type step struct {
	rate   int // requests per second
	length time.Duration
	every  time.Duration // all requests come at once, at this interval; 0: evenly
}

func (s step) String() string {
	if s.every == 0 {
		return fmt.Sprintf("%d requests a second", s.rate)
	}
	return fmt.Sprintf("%.0f requests at once, every %v", float64(s.rate)*s.every.Seconds(), s.every)
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("sampling", flag.ContinueOnError)
	flags.SetOutput(out)
	target := flags.Float64("target", 50, "traces per second to keep")
	phase := flags.Duration("phase", 4*time.Second, "how long each step of the load lasts")
	high := flags.Int("rate", 2000, "requests per second at the top")
	if err := flags.Parse(args); err != nil {
		return err
	}
	shop, err := openShop(ctx, *target)
	if err != nil {
		return err
	}
	defer shop.close()
	steps := []step{
		{*high / 100, *phase, 0}, {*high, *phase, 0}, {*high / 10, *phase, 0}, {*high / 100, *phase, 0},
		{*high / 10, 2 * *phase, *phase / 2},
	}
	if err := shop.serve(ctx, out, steps); err != nil {
		return err
	}
	return shop.report(out)
}
