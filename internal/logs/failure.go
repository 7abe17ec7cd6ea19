package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
)

// failure replaces an error that is an attribute of a record. Its text and type are known, so that
// the methods of the error itself are not called again.
type failure struct {
	text string
	kind string
}

// Error is the text of the error, or a note that it panics.
func (f *failure) Error() string { return f.text }

// ErrorType is the type's name, exception.type. OpenTelemetry's SDK asks for it by this method.
func (f *failure) ErrorType() string { return f.kind }

// marshaledFailure is a failure whose error has JSON of its own, which slog's handler prefers.
type marshaledFailure struct {
	*failure
	node node
}

// MarshalJSON writes what the error's own method returned.
func (f marshaledFailure) MarshalJSON() ([]byte, error) { return f.node.MarshalJSON() }

// AppendJSON is what redaction searches.
func (f marshaledFailure) AppendJSON(b []byte) []byte { return f.node.AppendJSON(b) }

// failure returns the value that replaces an error. If its Error method panics, the value is a note
// without a type.
func (w *walk) failure(err error) slog.Value {
	s, ok := called(func() (string, error) { return err.Error(), nil })
	if !ok {
		return slog.StringValue(w.text(s))
	}
	f := &failure{text: w.text(s), kind: typeOf(err)}
	if marshaler, ok := err.(json.Marshaler); ok {
		return slog.AnyValue(marshaledFailure{f, w.marshaled(marshaler)})
	}
	return slog.AnyValue(f)
}

var fmtError = reflect.TypeOf(fmt.Errorf("%w", errors.ErrUnsupported))

// typeOf names the type as OpenTelemetry's SDK does: errors of fmt.Errorf are unwrapped first.
func typeOf(err error) (name string) {
	if own, ok := err.(interface{ ErrorType() string }); ok {
		if name, ok := called(func() (string, error) { return own.ErrorType(), nil }); ok && name != "" {
			return name
		}
	}
	for range maxDepth {
		if reflect.TypeOf(err) != fmtError { // whose Unwrap, unlike a service's own, does not panic
			break
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return infoOf(reflect.TypeOf(err)).name
}
