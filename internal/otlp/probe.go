package otlp

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

const (
	// closerLook bounds the requests that follow a failed attempt. The attempt itself has its own
	// timeout.
	closerLook = 20 * time.Second
	// probeGrace is how long Shutdown waits for a probe that it has canceled: only TLS callbacks of
	// the service can take longer.
	probeGrace = 250 * time.Millisecond
	// sameCause is how long the probe's line stands for the failures of exports that it explains.
	sameCause = time.Minute
)

// Prober asks the endpoints once, in the background, whether they would accept requests.
type Prober struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// StartProbe starts the probe and returns at once. It returns nil if there is nothing to ask.
func (c *Connections) StartProbe(ctx context.Context) *Prober {
	groups, report := c.probeTargets(), probedOf(ctx)
	if report == nil && (len(groups) == 0 || !c.cfg.Probe.Value) {
		return nil
	}
	limit := closerLook
	for _, targets := range groups {
		limit = max(limit, targets[0].Timeout+closerLook)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p := &Prober{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer cancel()
		results := c.probe(ctx, groups)
		if report != nil {
			report(results)
		}
	}()
	return p
}

// probe asks all endpoints at the same time, and writes the line about each one as soon as its
// result is known. It may call a service's TLS callbacks.
func (c *Connections) probe(ctx context.Context, groups [][]diagnose.Target) []diagnose.Result {
	results := make([][]diagnose.Result, len(groups))
	var wg sync.WaitGroup
	for i, targets := range groups {
		wg.Go(func() {
			_ = contain.Catch(func() error {
				results[i] = c.Explainer.masked(diagnose.Probe(ctx, targets, c.ask))
				if ctx.Err() == nil {
					c.sayFindings(results[i])
				}
				return nil
			})
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

type probedKey struct{}

// WithProbed returns a context that cmd/telemetry passes to Init. report is called once, from a
// goroutine, with what the probe has found, good news included. The probe then runs even if
// TELEMETRY_PROBE turns it off.
func WithProbed(ctx context.Context, report func([]diagnose.Result)) context.Context {
	return context.WithValue(ctx, probedKey{}, report)
}

func probedOf(ctx context.Context) func([]diagnose.Result) {
	report, _ := ctx.Value(probedKey{}).(func([]diagnose.Result))
	return report
}

// Stop ends the probe.
func (p *Prober) Stop() {
	if p == nil {
		return
	}
	p.cancel()
	select {
	case <-p.done:
	case <-time.After(probeGrace):
	}
}

// probeTargets returns the signals that are sent over OTLP, grouped by the connection that they
// share.
func (c *Connections) probeTargets() (groups [][]diagnose.Target) {
	type way struct {
		connectionKey
		protocol string
	}
	index := map[way]int{}
	for _, s := range signal.All() {
		sc := c.cfg.Signals[s]
		if !sc.Sends(settings.ExporterOTLP) {
			continue
		}
		w := way{keyOf(sc), sc.Protocol.Value}
		i, known := index[w]
		if !known {
			i = len(groups)
			index[w], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], c.Explainer.targets[s])
	}
	return groups
}

// ask sends a request without items, as the signal's exporter would.
func (c *Connections) ask(ctx context.Context, t diagnose.Target, u *url.URL) error {
	send, err := c.sender(t.Signal, u)
	if err != nil {
		return err
	}
	return delivery.Ask(ctx, t.Signal, send)
}

// sayFindings writes one line for each distinct finding, with the signals that it is about.
func (c *Connections) sayFindings(results []diagnose.Result) {
	type finding struct{ address, wrong string }
	about := map[finding][]string{}
	var findings []finding
	for _, r := range results {
		f := finding{address: r.Target.Address}
		if r.Finding != nil {
			f.wrong = r.Finding.Text
			if !c.Explainer.found(r) {
				continue
			}
			c.Explainer.tell(f.wrong)
		}
		if about[f] == nil {
			findings = append(findings, f)
		}
		about[f] = append(about[f], r.Target.Signal.String())
	}
	for _, f := range findings {
		if f.wrong == "" {
			c.selfLog.Say(lines.EndpointIsFine(about[f], f.address))
		} else {
			c.selfLog.Say(lines.EndpointIsNot(about[f], f.wrong))
		}
	}
}
