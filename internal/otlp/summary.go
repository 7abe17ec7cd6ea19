package otlp

import (
	"cmp"
	"errors"
	"slices"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/signal"
)

// summary is what a Shutdown loses, by cause. If an endpoint is down, its signals lose what they
// hold within seconds and for one reason.
type summary struct{ losses []*loss }

type loss struct {
	cause string
	err   error // the first of the cause
	items [signal.Count]int64
}

// explained is 1 if the error says what to do, and 0 otherwise.
func (l *loss) explained() int {
	if explained := (*explainedError)(nil); errors.As(l.err, &explained) {
		return 1
	}
	return 0
}

func (sum *summary) add(s signal.Signal, items int64, err error) {
	cause := lines.Cause(mask.TextOf(err))
	i := slices.IndexFunc(sum.losses, func(l *loss) bool { return l.cause == cause })
	if i < 0 {
		i = len(sum.losses)
		sum.losses = append(sum.losses, &loss{cause: cause, err: err})
	}
	sum.losses[i].items[s] += items
}

// BeginSummary holds the lines about losses back until EndSummary. A service's own error handler
// gets them at once.
func (o *Outages) BeginSummary() {
	if o.selfLog.Forwards() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.summary = &summary{}
}

// EndSummary says what was lost, each reason once.
func (o *Outages) EndSummary() {
	o.mu.Lock()
	sum := o.summary
	o.summary = nil
	o.mu.Unlock()
	if sum == nil {
		return
	}
	// in an outage they become one line, with the reason of the last one
	slices.SortStableFunc(sum.losses, func(a, b *loss) int {
		return cmp.Compare(a.explained(), b.explained())
	})
	for _, l := range sum.losses {
		lost, counts := Counted(l.items)
		if len(lost) == 1 {
			o.sayLost(lost[0], l.items[lost[0]], l.cause, l.err) // and with it what was lost since its last line
			continue
		}
		o.selfLog.Flush() // what was lost before is said before
		o.selfLog.Say(lines.LostTogether(counts, l.err))
	}
}
