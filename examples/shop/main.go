// Command shop is a small fleet: a storefront, checkout, payment, inventory, and a fulfilment
// worker behind NATS. Each is a separate process with telemetry from one shared preset.
//
//	go run ./examples/shop
//
// starts everything, including a NATS server and an OTLP collector, sends load for a while, and
// prints what arrived next to what happened. If OTEL_EXPORTER_OTLP_ENDPOINT is set, the telemetry
// goes there instead.
//
//	go run ./examples/shop -service payment
//
// runs a single service, as in its container. README.md lists the variables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fleetotel/telemetry/examples/shop/internal/checkout"
	"github.com/fleetotel/telemetry/examples/shop/internal/fulfilment"
	"github.com/fleetotel/telemetry/examples/shop/internal/inventory"
	"github.com/fleetotel/telemetry/examples/shop/internal/load"
	"github.com/fleetotel/telemetry/examples/shop/internal/payment"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/examples/shop/internal/storefront"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From one second after the first signal, Ctrl-C ends the process at once. Signals before that
	// are ignored, because timeout(1) sends each signal twice: to the process and to its group.
	context.AfterFunc(ctx, func() { time.Sleep(time.Second); signal.Reset(os.Interrupt) })
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1) // no deferred calls are needed: run has stopped everything
	}
}

// service is one of the programs that this binary can be.
type service struct {
	name  string
	build func(context.Context, *platform.App) error
}

// services is in start order: callees before callers. They stop in reverse order.
var services = []service{
	{"payment", payment.Build},
	{"inventory", inventory.Build},
	{"fulfilment", fulfilment.Build},
	{"checkout", checkout.Build},
	{"storefront", storefront.Build},
}

// loadName is the -service that runs only the load generator, for a shop that runs elsewhere.
const loadName = "load"

// settings are the command-line flags.
type settings struct {
	service  string
	attached bool
	duration time.Duration
	rate     float64
	seed     uint64
	compare  bool
	json     string
}

// run is the whole program. If ctx is canceled, it finishes what has begun and delivers all
// telemetry before it returns.
func run(ctx context.Context, out io.Writer, args []string) error {
	set, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case set.attached:
		ctx = untilEOF(ctx, os.Stdin)
	}
	if set.service == "" {
		return launch(ctx, out, set)
	}
	if set.service == loadName {
		return loadAlone(ctx, out, set)
	}
	i := slices.IndexFunc(services, func(s service) bool { return s.name == set.service })
	return platform.Run(ctx, out, services[i].name, services[i].build)
}

func parse(args []string, out io.Writer) (settings, error) {
	var set settings
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&set.service, "service", "", "be one service: "+names())
	flags.BoolVar(&set.attached, "attached", false, "end when standard input does: the launcher's hold on its services")
	flags.DurationVar(&set.duration, "duration", 6*time.Second,
		"how long the load takes, burst included; with -service load: of one round")
	flags.Float64Var(&set.rate, "rate", 10, "requests per second, of which the burst makes a hundred times as many")
	flags.Uint64Var(&set.seed, "seed", 1, "of the load: the same seed sends the same requests")
	flags.BoolVar(&set.compare, "compare", true,
		"run the same load once more without telemetry, to tell what telemetry costs")
	flags.StringVar(&set.json, "json", "", "write what was done to this `file`")
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	switch {
	case flags.NArg() > 0:
		return set, fmt.Errorf("%q is not a flag; -help lists them", flags.Arg(0))
	case set.duration < time.Second || set.duration > 10*time.Minute:
		return set, fmt.Errorf("-duration %v: want 1s to 10m", set.duration)
	case !(set.rate > 0 && set.rate <= 1000):
		return set, fmt.Errorf("-rate %v: want more than 0, and at most 1000", set.rate)
	case set.service != "" && !strings.Contains(", "+names()+",", ", "+set.service+","):
		return set, fmt.Errorf("-service %q: want one of %s", set.service, names())
	}
	return set, nil
}

func names() string {
	var all []string
	for _, s := range services {
		all = append(all, s.name)
	}
	return strings.Join(append(all, loadName), ", ")
}

// loadAlone sends load to the shop at STOREFRONT_URL, round after round, until ctx is canceled.
func loadAlone(ctx context.Context, out io.Writer, set settings) error {
	url := os.Getenv("STOREFRONT_URL")
	if url == "" {
		return errors.New("STOREFRONT_URL is not set: want the URL of the storefront, such as http://storefront:8080")
	}
	l := load.New(load.Config{URL: url, Rate: set.rate, Duration: set.duration, Seed: set.seed, Forever: true})
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	ticker := time.NewTicker(set.duration)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t := l.Tally()
			fmt.Fprintf(out, "requests %d, orders %d, declined %d, wrong answers %d", t.Requests(), t.Ordered,
				t.Declined, t.Wrong)
			if t.Wrong > 0 {
				fmt.Fprintf(out, ", the first: %v", t.First)
			}
			fmt.Fprintln(out)
		case <-done:
			return nil
		}
	}
}

// untilEOF returns a context that ends when in does, which happens when the process at the other
// end has exited.
func untilEOF(ctx context.Context, in io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx
}
