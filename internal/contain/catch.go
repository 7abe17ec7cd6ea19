package contain

import (
	"errors"
	"reflect"

	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/mask"
)

// Catch calls f, which is a service's code, and returns its error. If f panics, the error is
// "panic: " and the value. If the error is a nil pointer, it is replaced by one with the same text:
// its Unwrap, Is and As methods may panic later.
//
// The library calls exporters, processors, detectors and header functions through it. Some code
// recovers by itself: redaction and the texts of values and errors, where a closure for each would
// cost too much or a fallback takes the text's place; internal/global, which is in the same layer;
// internal/selflog, which must also handle runtime.Goexit; and code that records a panic and raises
// it again (internal/spans, internal/middleware, Run).
func Catch(f func() error) error { return catch("panic: ", f) }

// CatchIn is [Catch] for an error that must name the code: it is what, " panicked: " and the value.
func CatchIn(what string, f func() error) error { return catch(what+" panicked: ", f) }

func catch(prefix string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = errors.New(prefix + logs.Text(value))
		}
	}()
	err = f()
	if v := reflect.ValueOf(err); v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New(mask.TextOf(err))
	}
	return err
}
