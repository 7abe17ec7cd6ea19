package otlp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/settings"
)

// A header function that hangs for one signal does not stop that of another.
func TestHeaderFuncThatHangsForOneSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		hanging := settings.HeaderFunc(func(context.Context) (map[string]string, error) { <-release; return nil, nil })
		fine := settings.HeaderFunc(func(context.Context) (map[string]string,
			error) {
			return map[string]string{"k": "v"}, nil
		})
		c := &Connections{}
		ask := func(f *settings.HeaderFunc) (map[string]string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return c.headers(settings.HeaderSource{Function: f})(ctx)
		}
		for range 17 {
			_, err := ask(&hanging)
			require.ErrorContains(t, err, "the function of WithHeaderFunc has not returned after 1s")
		}
		_, err := ask(&hanging)
		require.ErrorContains(t, err, "the function of WithHeaderFunc has not returned from 17 calls")
		headers, err := ask(&fine)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"k": "v"}, headers)
	})
}
