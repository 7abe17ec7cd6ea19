package mask

import (
	"errors"
	"fmt"

	"github.com/fleetotel/telemetry/internal/logs"
)

// Error returns err with its text masked; nil for nil. It unwraps to err, so that errors.Is and
// errors.As work.
func (m Mask) Error(err error) error {
	if err == nil {
		return nil
	}
	plain := TextOf(err)
	if text := m.Text(plain); text != plain {
		return &maskedError{text, err}
	}
	return err
}

// TextOf returns err.Error(), or a note if that panics, as it does for some nil pointers: the error
// may be the service's.
func TextOf(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("an error of type %T, whose Error panics: %s", err, logs.Text(p))
		}
	}()
	return err.Error()
}

type maskedError struct {
	text  string
	cause error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.cause }

// replaced returns err with another text, or err itself if that is its text already.
func (m Mask) replaced(err error, text string) error {
	if text == TextOf(err) {
		return err
	}
	return &saidError{text, err}
}

// saidError does not unwrap: the texts below it are a server's.
type saidError struct {
	text  string
	cause error
}

func (e *saidError) Error() string        { return e.text }
func (e *saidError) Is(target error) bool { return errors.Is(e.cause, target) }
func (e *saidError) As(target any) bool   { return errors.As(e.cause, target) }
