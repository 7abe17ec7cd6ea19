package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
)

// Failure stands for an error that is an attribute of a record. Its text and type are known, so the error itself is
// not asked again.
type Failure struct {
	text string
	kind string
}

// Error is the text of the error, or a note that it panics.
func (f *Failure) Error() string { return f.text }

// ErrorType is the type's name, exception.type. OpenTelemetry's SDK asks for it by this method.
func (f *Failure) ErrorType() string { return f.kind }

// marshaledFailure is a Failure whose error has JSON of its own, which slog's handler prefers.
type marshaledFailure struct {
	*Failure
	node Node
}

// MarshalJSON writes what the error's own method returned.
func (f marshaledFailure) MarshalJSON() ([]byte, error) { return f.node.MarshalJSON() }

// failure is the error of an attribute. One without text, since it panics, has no type either.
func (w *walk) failure(err error) slog.Value {
	s, ok := called(func() (string, error) { return err.Error(), nil })
	if !ok {
		return slog.StringValue(w.text(s))
	}
	f := &Failure{text: w.text(s), kind: typeOf(err)}
	if marshaler, ok := err.(json.Marshaler); ok {
		return slog.AnyValue(marshaledFailure{f, w.marshaled(marshaler)})
	}
	return slog.AnyValue(f)
}

var fmtError = reflect.TypeOf(fmt.Errorf("%w", errors.ErrUnsupported))

// typeOf names the type as OpenTelemetry's SDK does: what fmt.Errorf has wrapped is looked through.
func typeOf(err error) (name string) {
	if own, ok := err.(interface{ ErrorType() string }); ok {
		if name, ok := called(func() (string, error) { return own.ErrorType(), nil }); ok && name != "" {
			return name
		}
	}
	for range MaxDepth {
		inner := errors.Unwrap(err)
		if reflect.TypeOf(err) != fmtError || inner == nil {
			break
		}
		err = inner
	}
	t := reflect.TypeOf(err)
	if t.PkgPath() != "" && t.Name() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	return t.String()
}
