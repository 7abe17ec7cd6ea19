package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// demo sends requests to the service and reports what became of their telemetry.
func demo(ctx context.Context, out io.Writer, set settings) error {
	opts := []telemetry.Option{quiet()}
	variable, value := destination()
	var collector *otlptest.Collector
	if variable == "" {
		var err error
		if collector, err = otlptest.Start(); err != nil {
			return err
		}
		defer collector.Close()
		protocol := cmp.Or(telemetry.Protocol(os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")), telemetry.ProtocolHTTP)
		opts = append(opts, telemetry.WithProtocol(protocol), telemetry.WithEndpoint(collector.Endpoint(string(protocol))))
		fmt.Fprintf(out, "collector  %s, in this process, since none is set\n", collector.Endpoint(string(protocol)))
	} else {
		fmt.Fprintf(out, "telemetry  to %s=%s\n", variable, value)
	}

	a, err := start(context.WithoutCancel(ctx), out, set, "127.0.0.1:0", opts...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "payments   %s\ngateway    %s\n", a.api.url, a.bank.url)
	did := load(ctx, a.api.url, set.requests)
	fmt.Fprintf(out, "requests   %s\n           and %d health checks, which must leave no trace\n", did, did.probes)
	if did.requests < set.requests {
		fmt.Fprintf(out, "           interrupted: %d were not sent\n", set.requests-did.requests)
	}
	// Nothing waits for a batch delay: stop delivers what is still queued.
	err = errors.Join(did.err, a.stop())
	if collector != nil {
		return errors.Join(err, arrivedAt(collector).print(out, did, a.lost()))
	}
	return errors.Join(err, a.printSent(out, did))
}

// quiet keeps the console log away, which would drown the report; its lines go to the collector as always. What the
// library has to say about itself is what matters when nothing arrives, so that goes to standard error.
func quiet() telemetry.Option {
	return telemetry.WithOptions(
		telemetry.WithLogOutput(io.Discard),
		telemetry.WithErrorHandler(otel.ErrorHandlerFunc(func(err error) { fmt.Fprintln(os.Stderr, "telemetry:", err) })))
}

// destination returns the first variable of the environment that says where telemetry goes, and its value, without the
// password that an URL may hold.
func destination() (variable, value string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_%s_ENDPOINT", "OTEL_%s_EXPORTER"} {
		for _, signal := range []string{"TRACES", "METRICS", "LOGS"} {
			variable = strings.ReplaceAll(name, "%s", signal)
			if value = os.Getenv(variable); value == "" {
				continue
			}
			if u, err := url.Parse(value); err == nil {
				value = u.Redacted()
			}
			return variable, value
		}
	}
	return "", ""
}
