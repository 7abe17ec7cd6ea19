package otlp

import (
	"context"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// Running is one signal in operation, as ForceFlush, Shutdown and Health see it.
type Running struct {
	Signal    signal.Signal
	Explainer *Explainer // says what an error of the delivery means and what to do about it; may be nil
	Flush     func(context.Context) error
	Shutdown  func(context.Context) error
	Drain     func(context.Context) error // the batch engine's part of shutdown; nil without one
	Stats     func() batch.Stats
	Report    func()             // reports losses that were not reported yet; nil if there are none to report
	Sampler   *sampling.Sampler  // of traces, if it is adaptive
	Spooled   func() spool.Books // nil without a spool
	Redacted  func() int64
	Inward    bool // no exporter sends it
}

// Health is how the signal is doing, on its way and on disk.
func (r Running) Health() Health {
	h := healthOf(r.Stats())
	h.On = !r.Inward
	h.Redacted = r.Redacted()
	if r.Spooled != nil {
		h.addSpool(r.Spooled())
	}
	h.LastError = r.Explainer.explained(r.Signal, h.LastError)
	return h
}

// Books returns the engine's books with those of the spool added: what the spool has delivered
// counts as exported, and what it has lost as failed.
func (r Running) Books() batch.Stats {
	s := r.Stats()
	if r.Spooled != nil {
		b := r.Spooled()
		s.Exported += b.Exported
		s.Rejected += b.Rejected
		s.Dropped.TooLarge += b.TooLarge
		s.Failed += b.Failed + b.Full + b.Corrupt
	}
	return s
}
