package main

import (
	"context"
	"fmt"
	"io"
)

// serve runs the service until ctx is canceled or its listener fails. Its log goes to standard
// error; the environment sets where its telemetry goes.
func serve(ctx context.Context, out io.Writer, set settings) error {
	// The context of Init only limits the start-up. A signal must not shorten the shutdown.
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
		// The service did its work, so undelivered telemetry is reported but is not a failure.
		a.payments.Logger().Error("not everything was delivered", "error", undelivered)
	}
	return err
}
