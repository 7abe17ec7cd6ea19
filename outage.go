package telemetry

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

// outages says when the requests of a signal begin to fail and when they get through again, and what that has cost. Losses
// come from the engines with their number and are added up; while a signal is down they are one cause, and the recovery
// line, whose numbers are the difference of two looks at the books, settles it. The signals of one endpoint go down within
// seconds and for one reason: the first says it at once, the others refer to the first. What a Shutdown loses is one line
// for each reason (farewell.go). A user's error handler gets every error by itself. It is safe for concurrent use.
type outages struct {
	selfLog   *diagnose.Log
	explainer *explainer
	spools    bool
	retried   [signalCount]setting[time.Duration] // see retried

	mu      sync.Mutex
	signals [signalCount]*running      // nil as long as the signal does not run
	began   [signalCount]*SignalHealth // the books when the outage began; nil without one
	told    [signalCount]reason        // of the outage; zero without one
	atEnd   *farewell                  // nil but in a Shutdown
}

// reason is why a signal cannot be delivered, as its line has said.
type reason struct {
	text string
	said time.Time
}

// atHand is for how long a line can refer to another one: a metric interval, and time to read.
const atHand = 5 * time.Minute

// lostInOutage is the cause of all that is lost while a signal cannot be delivered: whether the queue was full or an
// export ran out of time, the trouble is one.
const lostInOutage = "while it cannot be delivered"

// watch is told the signals that run.
func (o *outages) watch(signals []running) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range signals {
		o.signals[r.signal] = &r
	}
}

func (o *outages) down(name string, cause error) {
	s, known := signalNamed(name)
	if known {
		books := o.books(s)
		o.mu.Lock()
		o.began[s] = &books
		o.mu.Unlock()
	}
	cause, news := o.explainer.explain(name, cause)
	if !news {
		return // the probe's line is about the same
	}
	var like string
	if known {
		like = o.tell(s, cause)
	}
	o.explainer.tell(cause.Error())
	line := fmt.Sprintf("%s cannot be delivered%s: %v", name, o.meanwhile(s, known), cause)
	if like != "" && !o.selfLog.Forwards() {
		o.selfLog.SayAs(line, slog.LevelWarn, fmt.Sprintf("%s cannot be delivered either, for the same reason as %s", name, like))
		return
	}
	o.selfLog.Say(slog.LevelWarn, line)
}

// meanwhile is what becomes of a signal's items in an outage.
func (o *outages) meanwhile(s signal, known bool) string {
	switch {
	case o.spools:
		return " and wait on disk"
	case !known || o.retried[s].value == 0:
		return ""
	}
	what := "batch"
	if s == metrics {
		what = "export"
	}
	return fmt.Sprintf(": each %s is retried for %s (%s) and then lost, unless there is a spool (TELEMETRY_SPOOL_DIR)", what, o.retried[s].value, o.retried[s].origin)
}

// retried is for how long each batch of a signal is tried, and what a person sets to change that.
func retried(cfg *config) (all [signalCount]setting[time.Duration]) {
	all = [signalCount]setting[time.Duration]{traces: cfg.spanBatch.exportTimeout, metrics: cfg.metricTimeout, logs: cfg.logBatch.exportTimeout}
	for s, variable := range [signalCount]string{traces: "OTEL_BSP_EXPORT_TIMEOUT", metrics: "OTEL_METRIC_EXPORT_TIMEOUT", logs: "OTEL_BLRP_EXPORT_TIMEOUT"} {
		if !isOption(all[s].origin) {
			all[s].origin = variable
		}
	}
	return all
}

// tell takes down why a signal cannot be delivered, and returns the one whose line has just said the same, "" without one.
func (o *outages) tell(s signal, cause error) (like string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text, now := cause.Error(), time.Now()
	for other, r := range o.told {
		if signal(other) != s && r.text == text && now.Sub(r.said) < atHand {
			return signal(other).String()
		}
	}
	o.told[s] = reason{text, now}
	return ""
}

// up says what was kept and lost since the outage began. What was kept is still on its way at this moment.
func (o *outages) up(name string, after time.Duration, refusal error) {
	s, ok := signalNamed(name)
	if !ok {
		o.selfLog.Say(slog.LevelInfo, fmt.Sprintf("%s are delivered again after %v", name, rounded(after)))
		return
	}
	if r := o.running(s); r != nil && r.report != nil {
		r.report() // it belongs to the outage
	}
	o.mu.Lock()
	began := o.began[s]
	o.began[s], o.told[s] = nil, reason{}
	o.mu.Unlock()
	now := o.books(s)
	if began == nil { // the beginning is not known
		began = &now
	}
	kept, lost := now.Queued+now.Spooled, now.Lost()-began.Lost()

	level, cause := slog.LevelInfo, name+" are delivered again"
	if lost > 0 {
		level = slog.LevelWarn
	}
	keeping := "were kept and are being sent"
	if kept == 1 {
		keeping = "was kept and is being sent"
	}
	text := fmt.Sprintf("%s after %v: %s %s, %s", cause, rounded(after), diagnose.Count(kept, s.one(), s.unit()), keeping, losses(*began, now))
	if refusal != nil {
		refusal, _ = o.explainer.explain(name, refusal)
		level, cause = slog.LevelWarn, name+" are answered again, and refused"
		text = fmt.Sprintf("%s are answered again after %v, and refused: %v; %s in between", name, rounded(after), refusal, losses(*began, now))
	}
	if o.selfLog.SayAs(cause, level, text, slog.String("after", rounded(after).String()), slog.Int64("kept", kept), slog.Int64("lost", lost)) {
		o.selfLog.Settle(lostInOutage, s.unit())
	}
}

// lost reports what went wrong in an export, and what it cost.
func (o *outages) lost(s signal, items int64, err error) {
	err, _ = o.explainer.explain(s.String(), err)
	if items == 0 {
		o.selfLog.Say(slog.LevelWarn, fmt.Sprintf("%s: %v", s, err))
		return
	}
	o.mu.Lock()
	if o.atEnd != nil {
		o.atEnd.add(s, items, err)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	cause := diagnose.Cause(mask.TextOf(err))
	if !o.selfLog.Forwards() {
		err = o.explainer.brief(err)
	}
	o.sayLost(s, items, cause, err)
}

func (o *outages) sayLost(s signal, items int64, cause string, err error) {
	o.mu.Lock()
	if o.began[s] != nil {
		cause = lostInOutage
	}
	o.mu.Unlock()
	o.selfLog.Lost(cause, items, s.unit(), err)
}

func (o *outages) running(s signal) *running {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signals[s]
}

func (o *outages) books(s signal) SignalHealth {
	if r := o.running(s); r != nil {
		return r.health()
	}
	return SignalHealth{}
}

// losses are the reasons for which items were lost between two looks at the books, the largest first.
func losses(before, after SignalHealth) string {
	reasons := map[string]int64{"failed": after.Failed - before.Failed, "rejected": after.Rejected - before.Rejected}
	for reason, n := range after.DroppedBy {
		reasons[reason] = n - before.DroppedBy[reason]
	}
	var names []string
	for name, n := range reasons {
		if n > 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none lost"
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(reasons[b], reasons[a]), strings.Compare(a, b)) })
	for i, name := range names {
		if len(names) > 1 {
			names[i] = diagnose.Thousands(reasons[name]) + " " + name
		}
	}
	return fmt.Sprintf("%s lost (%s)", diagnose.Thousands(after.Lost()-before.Lost()), strings.Join(names, ", "))
}

func signalNamed(name string) (signal, bool) {
	for _, s := range allSignals() {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
