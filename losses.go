package telemetry

import (
	"errors"
	"fmt"
	"slices"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/diagnose"
)

// undelivered is the error of a flush or a shutdown about what was lost for one reason, of one signal or of several.
type undelivered struct {
	what    string // "flush" or "shutdown"
	items   [signalCount]int64
	reasons []error // one for each signal, in words; they read alike
}

func (u *undelivered) Error() string {
	signals, counts := counted(u.items)
	names := make([]string, len(signals))
	for i, s := range signals {
		names[i] = s.String()
	}
	return fmt.Sprintf("telemetry: %s %s: %s not delivered: %v", u.what, diagnose.Listed(names), diagnose.Listed(counts), u.reasons[0])
}

func (u *undelivered) Unwrap() []error { return u.reasons }

// counted is which signals have lost something, and how much in their own units.
func counted(items [signalCount]int64) (signals []signal, counts []string) {
	for _, s := range allSignals() {
		if n := items[s]; n > 0 {
			signals, counts = append(signals, s), append(counts, diagnose.Count(n, s.one(), s.unit()))
		}
	}
	return signals, counts
}

// failed words an error for the caller: what was lost, in the signal's own unit, and why.
func (r running) failed(what string, err error) error {
	var loss *batch.LossError
	switch {
	case err == nil, errors.Is(err, sdkmetric.ErrReaderShutdown): // a reader of the user's may be shut down already
		return nil
	case errors.As(err, &loss):
		lost := &undelivered{what: what, reasons: []error{r.words.words(r.signal, loss.Cause)}}
		lost.items[r.signal] = int64(loss.Items)
		return errors.Join(append([]error{lost}, besidesLoss(err)...)...)
	}
	return fmt.Errorf("telemetry: %s %s: %w", what, r.signal, err)
}

// besidesLoss are the errors that were joined to a loss.
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

// joined is errors.Join with one error for what several signals lost for the same reason, at the place of the first.
func joined(errs ...error) error {
	var all []error
	for _, err := range errs {
		for _, one := range parts(err) {
			loss, ok := one.(*undelivered)
			if !ok {
				all = append(all, one)
				continue
			}
			same := slices.IndexFunc(all, func(other error) bool {
				of, ok := other.(*undelivered)
				return ok && of.what == loss.what && of.reasons[0].Error() == loss.reasons[0].Error()
			})
			if same < 0 {
				all = append(all, loss)
				continue
			}
			all[same] = all[same].(*undelivered).and(loss)
		}
	}
	return errors.Join(all...)
}

func (u *undelivered) and(other *undelivered) *undelivered {
	both := &undelivered{what: u.what, items: u.items, reasons: slices.Concat(u.reasons, other.reasons)}
	for s, n := range other.items {
		both.items[s] += n
	}
	return both
}

// parts are the errors that were joined to err, to any depth; err itself if none were.
func parts(err error) (all []error) {
	if err == nil {
		return nil
	}
	several, ok := err.(interface{ Unwrap() []error })
	if _, whole := err.(*undelivered); !ok || whole {
		return []error{err}
	}
	for _, one := range several.Unwrap() {
		all = append(all, parts(one)...)
	}
	return all
}
