package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// closeSpool is how long the spool may take to stop when a shutdown's time is over: a disk may
// hang.
const closeSpool = 250 * time.Millisecond

// diskSpool is the spool of one guard: the store, and what sends its content.
type diskSpool struct {
	store     *spool.Store
	replayers []*delivery.Replayer
}

// openSpool returns nil if no directory is set, or nothing is sent over OTLP. If the directory
// cannot be used, one line says so, and it is tried again every 30 seconds. Until then everything
// is retried from memory.
func (c *Connections) openSpool() *diskSpool {
	if c.cfg.SpoolDir.Value == "" || !c.cfg.SendsOTLP() {
		return nil
	}
	// OnNotice has already reported the error.
	store, _ := spool.Open(spool.Config{
		Dir:      c.cfg.SpoolDir.Value,
		MaxBytes: c.cfg.SpoolBytes.Value,
		OnNotice: func(line lines.Line) { c.selfLog.Say(line) },
	})
	return &diskSpool{store: store}
}

// store is what the delivery endpoints write to, or nil.
func (c *Connections) store() *spool.Store {
	if c.Spool == nil {
		return nil
	}
	return c.Spool.store
}

// Replay starts to send what the spool holds of a signal, with the current endpoint, protocol and
// headers. It returns a function that returns the signal's books.
func (c *Connections) Replay(s signal.Signal) (func() spool.Books, error) {
	sc := c.cfg.Signals[s]
	if c.Spool == nil || !sc.Sends(settings.ExporterOTLP) {
		return nil, nil // without a spool there are no books
	}
	send, err := c.sender(s, sc.Target.URL)
	if err != nil {
		return nil, err
	}
	c.Spool.replayers = append(c.Spool.replayers, delivery.Replay(c.Spool.store, s, send))
	return func() spool.Books { return c.Spool.store.Snapshot(s) }, nil
}

// sender returns a function that sends encoded requests of a signal as its exporter does. Over HTTP
// it sends them to u.
func (c *Connections) sender(s signal.Signal, u *url.URL) (delivery.Sender, error) {
	sc := c.cfg.Signals[s]
	if sc.Protocol.Value == settings.ProtocolGRPC {
		conn, err := c.grpcConn(sc)
		if err != nil {
			return nil, err
		}
		return delivery.GRPCSender(conn, sc.Headers.Value), nil
	}
	headers := map[string]string{"User-Agent": userAgent}
	for name, value := range sc.Headers.Value {
		headers[name] = value
	}
	return delivery.HTTPSender(c.clientOf(s), u.String(), headers, sc.Compression.Value == settings.CompressionGzip),
		nil
}

// Close stops the replay and releases the directory. What is held waits for the next process.
func (d *diskSpool) Close(ctx context.Context) {
	if d == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for _, r := range d.replayers {
			wg.Go(func() { r.Close(ctx) })
		}
		wg.Wait()
		d.store.Close()
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(closeSpool):
	}
}

// Lost counts, by signal, what the spool has lost so far.
func (d *diskSpool) Lost() (items [signal.Count]int64) {
	if d == nil {
		return items
	}
	for _, s := range signal.All() {
		items[s] = d.store.Snapshot(s).Lost()
	}
	return items
}

// LostSince is the error of a shutdown during which the spool lost something: it was full, or the
// server refused what it held.
func (d *diskSpool) LostSince(before [signal.Count]int64) error {
	var errs []error
	for s, now := range d.Lost() {
		if n := now - before[s]; n > 0 {
			errs = append(errs, fmt.Errorf("telemetry: shutdown %s: %d items of the spool were lost: it was full, or "+
				"the collector refused them", signal.Signal(s), n))
		}
	}
	return errors.Join(errs...)
}
