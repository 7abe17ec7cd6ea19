package delivery

import (
	"context"

	"github.com/fleetotel/telemetry/internal/spool"
)

type askKey struct{}

func asking(ctx context.Context) bool { return ctx.Value(askKey{}) != nil }

// Ask finds out whether the endpoint would take a signal's requests: it sends one
// without items, through the client or connection, with the headers, the compression
// and the TLS of every other, once. It returns nil if the server takes it, or finds
// fault with nothing but its size or content, and else what an export would get.
//
// It passes the gate by and leaves no trace in the books: what it learns is a
// person's business.
func Ask(ctx context.Context, signal spool.Signal, send Sender) error {
	empty, err := new(gzipPool).compressed(nil)
	if err != nil {
		return err
	}
	out := &Outcome{Items: 1} // so that the outcome tells taken from refused
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
