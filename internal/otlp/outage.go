package otlp

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Outages writes a line when the requests of a signal begin to fail, and one when they succeed
// again, with what the outage has cost. The engines report how many items are lost. While a signal
// is down, all its losses count as one cause. The line about the recovery has the difference of the
// books before and after, so nothing more is written about that cause.
//
// The signals of one endpoint go down within seconds and for one reason: the first line has the
// reason, and the others refer to it. What a Shutdown loses is one line for each reason
// (summary.go). A service's own error handler gets each error separately. Outages is safe for
// concurrent use.
type Outages struct {
	selfLog   *selflog.Log
	explainer *Explainer
	spools    bool
	retried   [signal.Count]settings.Setting[time.Duration] // see retried

	// saying is held from the choice of a line's words until the line is written: the first line
	// has the reason and the advice, and later ones refer to it.
	saying sync.Mutex

	mu      sync.Mutex
	signals [signal.Count]*Running // nil while the signal does not run
	began   [signal.Count]*Health  // the books when the outage began; nil without one
	told    [signal.Count]reason   // of the outage; zero without one
	summary *summary               // nil except during a Shutdown
}

// reason is why a signal cannot be delivered, as its line says.
type reason struct {
	text string
	said time.Time
}

// maxReasonAge is how old a line may be that another one refers to: a metric interval, and time to
// read.
const maxReasonAge = 5 * time.Minute

// lostInOutage is the cause of all losses while a signal cannot be delivered. Whether the queue was
// full or an export timed out, the problem is the same.
const lostInOutage = "while it cannot be delivered"

// Watch sets the signals that run.
func (o *Outages) Watch(signals []Running) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range signals {
		o.signals[r.Signal] = &r
	}
}

func (o *Outages) down(s signal.Signal, cause error) {
	books := o.books(s)
	o.mu.Lock()
	o.began[s] = &books
	o.mu.Unlock()
	cause, news := o.explainer.explain(s, cause)
	if !news {
		return // the probe's line is about the same cause
	}
	o.saying.Lock()
	defer o.saying.Unlock()
	like := o.tell(s, cause)
	o.explainer.tell(cause.Error())
	line := lines.Undeliverable(s, o.fate(s), cause)
	if like != signal.None && !o.selfLog.Forwards() {
		line = lines.UndeliverableToo(line, s, like)
	}
	o.selfLog.Say(line)
}

// fate is what becomes of a signal's items in an outage.
func (o *Outages) fate(s signal.Signal) string {
	switch {
	case o.spools:
		return lines.WaitsOnDisk
	case o.retried[s].Value == 0:
		return ""
	}
	return lines.IsRetried(s, o.retried[s].Value, o.retried[s].Origin)
}

// retried returns how long each batch of a signal is retried, and which setting changes that.
func retried(cfg *settings.Config) (all [signal.Count]settings.Setting[time.Duration]) {
	all = [signal.Count]settings.Setting[time.Duration]{signal.Traces: cfg.SpanBatch.ExportTimeout,
		signal.Metrics: cfg.MetricTimeout, signal.Logs: cfg.LogBatch.ExportTimeout}
	for s, variable := range [signal.Count]string{signal.Traces: "OTEL_BSP_EXPORT_TIMEOUT",
		signal.Metrics: "OTEL_METRIC_EXPORT_TIMEOUT", signal.Logs: "OTEL_BLRP_EXPORT_TIMEOUT"} {
		if !lines.IsOption(all[s].Origin) {
			all[s].Origin = variable
		}
	}
	return all
}

// tell remembers why a signal cannot be delivered, and returns another signal whose line gave the
// same reason in the last five minutes, or None.
func (o *Outages) tell(s signal.Signal, cause error) (like signal.Signal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text, now := cause.Error(), time.Now()
	for other, r := range o.told {
		if signal.Signal(other) != s && r.text == text && now.Sub(r.said) < maxReasonAge {
			return signal.Signal(other)
		}
	}
	o.told[s] = reason{text, now}
	return signal.None
}

// up writes how much was kept and lost since the outage began. What was kept is still waiting to be
// sent.
func (o *Outages) up(s signal.Signal, after time.Duration, refusal error) {
	if r := o.running(s); r != nil && r.Report != nil {
		r.Report() // it belongs to the outage
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
	line := lines.DeliveredAgain(s, after, kept, lost, losses(*began, now))
	if refusal != nil {
		refusal, _ = o.explainer.explain(s, refusal)
		line = lines.RefusedAgain(s, after, kept, lost, losses(*began, now), refusal)
	}
	if o.selfLog.Say(line) {
		o.selfLog.Settle(lines.LossCause(s, lostInOutage))
	}
}

// Lost reports what went wrong in an export, and what it cost.
func (o *Outages) Lost(s signal.Signal, items int64, err error) {
	err, _ = o.explainer.explain(s, err)
	if items == 0 {
		o.selfLog.Say(lines.ExportFailed(s, err))
		return
	}
	o.mu.Lock()
	if o.summary != nil {
		o.summary.add(s, items, err)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	o.saying.Lock()
	defer o.saying.Unlock()
	cause := lines.Cause(mask.TextOf(err))
	if !o.selfLog.Forwards() {
		err = o.explainer.brief(err)
	}
	o.sayLost(s, items, cause, err)
}

func (o *Outages) sayLost(s signal.Signal, items int64, cause string, err error) {
	o.mu.Lock()
	if o.began[s] != nil {
		cause = lostInOutage
	}
	o.mu.Unlock()
	o.selfLog.Say(lines.Lost(s, items, cause, err))
}

func (o *Outages) running(s signal.Signal) *Running {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signals[s]
}

func (o *Outages) books(s signal.Signal) Health {
	if r := o.running(s); r != nil {
		return r.Health()
	}
	return Health{}
}

// losses returns the reasons for which items were lost between two snapshots of the books, the
// largest first.
func losses(before, after Health) string {
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
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), strings.Compare(a, b))
	})
	return lines.Losses(after.Lost()-before.Lost(), names, reasons)
}
