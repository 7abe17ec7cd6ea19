package main

import (
	"context"
	"fmt"
	"io"
)

// serve runs the service until ctx is cancelled or its listener fails. Its log goes to standard error, its telemetry
// where the environment says.
func serve(ctx context.Context, out io.Writer, set settings) error {
	// The context of Init only bounds the start-up, and a signal must not make the way out shorter.
	a, err := start(context.WithoutCancel(ctx), out, set, set.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Payments are served at %s/api/payments.\n", a.api.url)

	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "Stopping: requests that have begun are finished, then telemetry is flushed.")
	case err = <-a.api.closed:
	case err = <-a.bank.closed:
	}
	if err != nil {
		err = fmt.Errorf("a listener failed: %w", err)
	}
	if undelivered := a.stop(); undelivered != nil {
		// The service did its work: telemetry that found no collector is reported, not turned into a failure.
		a.payments.Logger().Error("not everything was delivered", "error", undelivered)
	}
	return err
}
