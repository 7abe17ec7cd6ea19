package delivery

import (
	"context"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

type askKey struct{}

func isAsk(ctx context.Context) bool { return ctx.Value(askKey{}) != nil }

// Ask finds out whether the endpoint would accept a signal's requests. It sends one request without
// items, once, through the same client or connection, with the same headers, compression and TLS as
// an export. It returns nil if the server accepts the request, or refuses it only for its size or
// content, and otherwise the error that an export would get.
//
// It bypasses the gate and is not counted anywhere: its answer is for a person.
func Ask(ctx context.Context, signal signal.Signal, send Sender) error {
	empty, err := new(gzipPool).compressed(nil)
	if err != nil {
		return err
	}
	out := &Outcome{Items: 1} // with 0 items, accepted and refused would look the same
	ctx = context.WithValue(WithOutcome(ctx, out), askKey{}, true)
	err = send(ctx, spool.Request{Signal: signal, Gzip: empty.gzip})
	switch {
	case !out.Filled:
		return err
	case out.Failed > 0:
		return out.Err
	}
	return nil
}
