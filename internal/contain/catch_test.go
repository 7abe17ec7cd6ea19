package contain_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/contain"
)

func TestCatch(t *testing.T) {
	failed := errors.New("failed")
	require.NoError(t, contain.Catch(func() error { return nil }))
	require.Same(t, failed, contain.Catch(func() error { return failed }))
	require.EqualError(t, contain.Catch(func() error { panic("broken") }), "panic: broken")
	require.EqualError(t, contain.Catch(func() error { panic(http.ErrAbortHandler) }), "panic: net/http: abort Handler")
	require.ErrorContains(t, contain.Catch(func() error { writeTo(nil); return nil }), "nil map")
	require.EqualError(t, contain.CatchIn("the exporter", func() error { panic("broken") }),
		"the exporter panicked: broken")
}

// chained is an error whose methods, except Error, panic on a nil pointer.
type chained struct{ cause error }

func (*chained) Error() string   { return "chained" }
func (c *chained) Unwrap() error { return c.cause }

func TestCatchReplacesAnErrorThatIsANilPointer(t *testing.T) {
	err := contain.Catch(func() error { return (*chained)(nil) })
	require.EqualError(t, err, "chained")
	require.NotErrorIs(t, err, http.ErrAbortHandler)

	err = contain.Catch(func() error { return &chained{http.ErrAbortHandler} })
	require.ErrorIs(t, err, http.ErrAbortHandler)
}

func writeTo(m map[string]int) { m["a"] = 1 }
