package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// spoolLead is how long before the end of a shutdown the metrics that are left go to disk: at most, and half of
	// the time.
	spoolLead = time.Second
	// closeSpool is how long the spool may take to stop when a shutdown's time is over: a disk may hang.
	closeSpool = 250 * time.Millisecond
)

// diskSpool is the spool of one guard: the store, and what sends its content.
type diskSpool struct {
	store     *spool.Store
	replayers []*delivery.Replayer
}

// openSpool returns nil where no directory is set, or nothing is sent over OTLP. A directory that cannot be used is said
// once, and looked at again every half minute; until then everything is retried from memory.
func (c *connections) openSpool() *diskSpool {
	if c.cfg.spoolDir.value == "" || !c.cfg.sendsOTLP() {
		return nil
	}
	// The error has been said by then.
	store, _ := spool.Open(spool.Config{
		Dir:      c.cfg.spoolDir.value,
		MaxBytes: c.cfg.spoolBytes.value,
		OnNotice: func(message string) { c.selfLog.Say(slog.LevelWarn, message) },
	})
	return &diskSpool{store: store}
}

func (c *config) sendsOTLP() bool {
	for _, s := range c.signals {
		if s.sends(exporterOTLP) {
			return true
		}
	}
	return false
}

// store is what the delivery endpoints write to, or nil.
func (c *connections) store() *spool.Store {
	if c.spool == nil {
		return nil
	}
	return c.spool.store
}

// replay starts to send what the spool holds of a signal, with the endpoint, protocol and headers of today. It returns the
// signal's books.
func (c *connections) replay(s signal) (func() spool.Books, error) {
	kind, _ := spool.ParseSignal(s.String())
	sc := c.cfg.signals[s]
	if c.spool == nil || !sc.sends(exporterOTLP) {
		return nil, nil // without a spool there are no books
	}
	send, err := c.sender(s, sc.target.url)
	if err != nil {
		return nil, err
	}
	c.spool.replayers = append(c.spool.replayers, delivery.Replay(c.spool.store, kind, send))
	return func() spool.Books { return c.spool.store.Snapshot(kind) }, nil
}

// sender sends encoded requests of a signal as its exporter does; over HTTP, to u.
func (c *connections) sender(s signal, u *url.URL) (delivery.Sender, error) {
	sc := c.cfg.signals[s]
	if sc.protocol.value == ProtocolGRPC {
		conn, err := c.grpcConn(sc)
		if err != nil {
			return nil, err
		}
		return delivery.GRPCSender(conn, sc.headers.value), nil
	}
	headers := map[string]string{"User-Agent": userAgent}
	for name, value := range sc.headers.value {
		headers[name] = value
	}
	return delivery.HTTPSender(c.clientOf(s), u.String(), headers, sc.compression.value == CompressionGzip), nil
}

// close stops the replay and gives the directory up. What is held waits for the next process.
func (d *diskSpool) close(ctx context.Context) {
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

// lost counts, by signal, what the spool has lost so far.
func (d *diskSpool) lost() (items [signalCount]int64) {
	if d == nil {
		return items
	}
	for _, s := range allSignals() {
		kind, _ := spool.ParseSignal(s.String())
		items[s] = d.store.Snapshot(kind).Lost()
	}
	return items
}

// lostSince is the error of a shutdown during which the spool lost something: it was full, or the server refused what it
// held.
func (d *diskSpool) lostSince(before [signalCount]int64) error {
	var errs []error
	for s, now := range d.lost() {
		if n := now - before[s]; n > 0 {
			errs = append(errs, fmt.Errorf("telemetry: shutdown %s: %d items of the spool were lost: it was full, or the collector refused them", signal(s), n))
		}
	}
	return errors.Join(errs...)
}

// spoolLine says in the start line where the spool is.
func spoolLine(cfg *config) string {
	return fmt.Sprintf("%s, at most %d bytes%s", strings.TrimSpace(cfg.spoolDir.value), cfg.spoolBytes.value,
		origins(cfg.spoolDir.origin, cfg.spoolBytes.origin))
}
