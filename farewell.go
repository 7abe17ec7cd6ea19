package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

// farewell is what a Shutdown loses, by cause: the signals of an endpoint that is down lose what they hold within seconds,
// and for one reason.
type farewell struct{ losses []*loss }

type loss struct {
	cause string
	err   error // the first of the cause
	items [signalCount]int64
}

// explained is 1 if the error says what to do, and 0 if not.
func (l *loss) explained() int {
	if explained := (*explainedError)(nil); errors.As(l.err, &explained) {
		return 1
	}
	return 0
}

func (f *farewell) add(s signal, items int64, err error) {
	cause := diagnose.Cause(mask.TextOf(err))
	i := slices.IndexFunc(f.losses, func(l *loss) bool { return l.cause == cause })
	if i < 0 {
		i = len(f.losses)
		f.losses = append(f.losses, &loss{cause: cause, err: err})
	}
	f.losses[i].items[s] += items
}

// beginFarewell holds the lines about losses back until endFarewell. A service's own error handler gets them at once.
func (o *outages) beginFarewell() {
	if o.selfLog.Forwards() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.atEnd = &farewell{}
}

// endFarewell says what was lost, each reason once.
func (o *outages) endFarewell() {
	o.mu.Lock()
	f := o.atEnd
	o.atEnd = nil
	o.mu.Unlock()
	if f == nil {
		return
	}
	slices.SortStableFunc(f.losses, func(a, b *loss) int { // in an outage they are one line, which has the last one's reason
		return cmp.Compare(a.explained(), b.explained())
	})
	for _, l := range f.losses {
		lost, counts := counted(l.items)
		if len(lost) == 1 {
			o.sayLost(lost[0], l.items[lost[0]], l.cause, l.err) // and with it what was lost since its last line
			continue
		}
		o.selfLog.Flush() // what was lost before is said before
		o.selfLog.Say(slog.LevelError, fmt.Sprintf("%s were lost: %s", diagnose.Listed(counts), mask.TextOf(l.err)))
	}
}
