package telemetry

import (
	"context"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/spool"
)

const (
	// closerLook bounds the questions that follow a failed attempt, which has its own time.
	closerLook = 20 * time.Second
	// probeGrace is how long Shutdown waits for a probe that it has cancelled: for nothing but the user's TLS callbacks.
	probeGrace = 250 * time.Millisecond
	// sameCause is how long the probe's line stands for the failures of exports that it explains.
	sameCause = time.Minute
)

// prober asks the endpoints once, in the background, whether they would take what is going to be sent to them.
type prober struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startProbe returns at once; nil if there is nothing to ask.
func (c *connections) startProbe(inspection diagnose.Inspection) *prober {
	groups := c.probeTargets()
	if inspection.Probed == nil && (len(groups) == 0 || !c.cfg.probe.value) {
		return nil
	}
	patience := closerLook
	for _, targets := range groups {
		patience = max(patience, targets[0].Timeout+closerLook)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &prober{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer cancel()
		results := make([][]diagnose.Result, len(groups))
		var wg sync.WaitGroup
		for i, targets := range groups {
			wg.Go(func() {
				if contained(func() error { results[i] = c.explainer.masked(diagnose.Probe(ctx, targets, c.ask)); return nil }) == nil && ctx.Err() == nil {
					c.sayFindings(results[i])
				}
			})
		}
		wg.Wait()
		if inspection.Probed != nil {
			inspection.Probed(slices.Concat(results...))
		}
	}()
	return p
}

// stop ends the probe.
func (p *prober) stop() {
	if p == nil {
		return
	}
	p.cancel()
	select {
	case <-p.done:
	case <-time.After(probeGrace):
	}
}

// probeTargets are the signals that go out over OTLP, by the connection they share.
func (c *connections) probeTargets() (groups [][]diagnose.Target) {
	type way struct {
		connectionKey
		protocol Protocol
	}
	index := map[way]int{}
	for _, s := range allSignals() {
		sc := c.cfg.signals[s]
		if !sc.sends(exporterOTLP) {
			continue
		}
		w := way{keyOf(sc), sc.protocol.value}
		i, known := index[w]
		if !known {
			i = len(groups)
			index[w], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], c.explainer.targets[s])
	}
	return groups
}

// ask sends a request without items, as the signal's exporter would.
func (c *connections) ask(ctx context.Context, t diagnose.Target, u *url.URL) error {
	kind, _ := spool.ParseSignal(t.Signal)
	send, err := c.sender(signal(slices.IndexFunc(allSignals(), func(s signal) bool { return s.String() == t.Signal })), u)
	if err != nil {
		return err
	}
	return delivery.Ask(ctx, kind, send)
}

// sayFindings writes one line for each distinct finding.
func (c *connections) sayFindings(results []diagnose.Result) {
	type line struct {
		level slog.Level
		text  string
	}
	signals := map[line][]string{}
	var lines []line
	for _, r := range results {
		l := line{slog.LevelDebug, r.Target.Address + " takes what is sent to it"}
		if r.Finding != nil {
			l = line{slog.LevelWarn, r.Finding.Text}
			if !c.explainer.found(r) {
				continue
			}
			c.explainer.tell(r.Finding.Text)
		}
		if signals[l] == nil {
			lines = append(lines, l)
		}
		signals[l] = append(signals[l], r.Target.Signal)
	}
	for _, l := range lines {
		c.selfLog.Say(l.level, diagnose.Listed(signals[l])+": "+l.text)
	}
}
