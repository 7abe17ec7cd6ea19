package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/internal/destination"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// demonstrate sends requests to the service and reports what happened to their telemetry.
func demonstrate(ctx context.Context, out io.Writer, set settings) error {
	var reported reports
	opts := []telemetry.Option{quiet(&reported)}
	variable, value := destination.FromEnvironment()
	var collector *otlptest.Collector
	if variable == "" {
		var err error
		if collector, err = otlptest.Start(); err != nil {
			return err
		}
		defer collector.Close()
		protocol, endpoint := telemetry.ProtocolHTTP, collector.HTTPEndpoint()
		if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == string(telemetry.ProtocolGRPC) {
			protocol, endpoint = telemetry.ProtocolGRPC, collector.GRPCEndpoint()
		}
		opts = append(opts, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(endpoint))
		fmt.Fprintf(out, "collector  %s (%s), in this process\n", endpoint, protocol)
	} else {
		fmt.Fprintf(out, "telemetry  to %s=%s\n", variable, value)
	}

	a, err := start(context.WithoutCancel(ctx), out, set, "127.0.0.1:0", opts...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "payments   %s\ngateway    %s\n", a.api.url, a.bank.url)
	before := reported.count.Load() // a warning about settings is not a loss
	did := load(ctx, a.api.url, set.requests)
	fmt.Fprintf(out, "requests   %s\n           and %d × GET /health, which must leave no trace\n", did, did.probes)
	if did.requests < set.requests {
		fmt.Fprintf(out, "           interrupted: %d were not sent\n", set.requests-did.requests)
	}
	// No need to wait for a batch delay: stop delivers the queued data.
	err = errors.Join(did.err(), a.stop())
	if collector != nil {
		return errors.Join(err, arrivedAt(collector).print(out, did))
	}
	if a.degraded {
		return errors.Join(err, errors.New("not everything was sent: telemetry is degraded, as said above"))
	}
	return errors.Join(err, printSent(out, did, reported.count.Load()-before))
}

// reports prints what the library reports about itself to standard error, since that matters most
// if nothing arrives. It is safe for concurrent use.
type reports struct{ count atomic.Int64 }

// Handle implements otel.ErrorHandler.
func (r *reports) Handle(err error) {
	r.count.Add(1)
	fmt.Fprintln(os.Stderr, err)
}

// quiet turns the console log off, because it would bury the report. The collector still gets all
// log records.
func quiet(r *reports) telemetry.Option {
	// The program counts every request, and makes far more traces than the default of 50 per
	// second.
	all := telemetry.WithAdaptiveSampling(telemetry.Sampling{TracesPerSecond: 100_000})
	return telemetry.WithOptions(telemetry.WithLogOutput(io.Discard), telemetry.WithErrorHandler(r), all)
}

// printSent prints what was sent to a collector that this program cannot read, and where to look
// for it.
func printSent(out io.Writer, did *tally, problems int64) error {
	fmt.Fprintf(out, "\nRecorded: %d traces, %d spans, %d log records\n", did.requests,
		did.expect(func(k kind) int { return k.spans }), did.expect(func(k kind) int { return k.logs }))
	fmt.Fprintf(out, "  by the services %s and %s\n", paymentsName, gatewayName)
	if did.traceID != "" {
		fmt.Fprintf(out, "  one of the traces: %s\n", did.traceID)
	}
	if problems > 0 {
		return fmt.Errorf("not everything may have arrived: problems that telemetry reported (see above): %d", problems)
	}
	return nil
}
