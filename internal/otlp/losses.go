package otlp

import (
	"errors"
	"fmt"
	"slices"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Undelivered is the error of a flush or a shutdown. It says what one or several signals have lost
// for one reason.
type Undelivered struct {
	what    string // "flush" or "shutdown"
	items   [signal.Count]int64
	reasons []error // one for each signal; they have the same text
}

func (u *Undelivered) Error() string {
	signals, counts := Counted(u.items)
	names := make([]string, len(signals))
	for i, s := range signals {
		names[i] = s.String()
	}
	return fmt.Sprintf("telemetry: %s %s: %s not delivered: %v", u.what, lines.Listed(names), lines.Listed(counts),
		u.reasons[0])
}

func (u *Undelivered) Unwrap() []error { return u.reasons }

// Counted returns the signals that have lost something, and how much each has lost, in its own
// unit.
func Counted(items [signal.Count]int64) (signals []signal.Signal, counts []string) {
	for _, s := range signal.All() {
		if n := items[s]; n > 0 {
			signals, counts = append(signals, s), append(counts, lines.Count(n, s.Unit(), s.Units()))
		}
	}
	return signals, counts
}

// Failed returns the error for the caller, which says what was lost, in the signal's own unit, and
// why.
func (r Running) Failed(what string, err error) error {
	var loss *batch.LossError
	switch {
	case err == nil, errors.Is(err, sdkmetric.ErrReaderShutdown): // a service may have shut its own reader down already
		return nil
	case errors.As(err, &loss):
		lost := &Undelivered{what: what, reasons: []error{r.Explainer.explained(r.Signal, loss.Cause)}}
		lost.items[r.Signal] = int64(loss.Items)
		return errors.Join(append([]error{lost}, besidesLoss(err)...)...)
	}
	return fmt.Errorf("telemetry: %s %s: %w", what, r.Signal, err)
}

// besidesLoss returns the errors that were joined to a loss.
func besidesLoss(err error) (others []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			others = append(others, besidesLoss(one)...)
		}
		return others
	}
	if loss := (*batch.LossError)(nil); errors.As(err, &loss) {
		return nil
	}
	return []error{err}
}

// Join is [errors.Join], except that what several signals have lost for the same reason becomes one
// error, in the place of the first.
func Join(errs ...error) error {
	var all []error
	for _, err := range errs {
		for _, one := range Parts(err) {
			loss, ok := one.(*Undelivered)
			if !ok {
				all = append(all, one)
				continue
			}
			same := slices.IndexFunc(all, func(other error) bool {
				of, ok := other.(*Undelivered)
				return ok && of.what == loss.what && of.reasons[0].Error() == loss.reasons[0].Error()
			})
			if same < 0 {
				all = append(all, loss)
				continue
			}
			all[same] = all[same].(*Undelivered).and(loss)
		}
	}
	return errors.Join(all...)
}

func (u *Undelivered) and(other *Undelivered) *Undelivered {
	both := &Undelivered{what: u.what, items: u.items, reasons: slices.Concat(u.reasons, other.reasons)}
	for s, n := range other.items {
		both.items[s] += n
	}
	return both
}

// Parts returns the errors that were joined to err, at any depth, or err itself if none were.
func Parts(err error) (all []error) {
	if err == nil {
		return nil
	}
	several, ok := err.(interface{ Unwrap() []error })
	if _, whole := err.(*Undelivered); !ok || whole {
		return []error{err}
	}
	for _, one := range several.Unwrap() {
		all = append(all, Parts(one)...)
	}
	return all
}
