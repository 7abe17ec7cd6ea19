package credential_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/fleetotel/telemetry/internal/credential"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsThatReturn(t *testing.T) {
	var calls credential.Calls
	for name, tt := range map[string]struct {
		f    func(context.Context) (int, error)
		want int
		err  string
	}{
		"value": {f: func(context.Context) (int, error) { return 7, nil }, want: 7},
		"error": {f: func(context.Context) (int, error) { return 0, errors.New("the vault is sealed") },
			err: "the vault is sealed"},
		"panic": {f: func(context.Context) (int, error) { panic("oh") }, err: "it panicked: oh"},
		"goexit": {f: func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
			err: "it ended its goroutine"},
	} {
		got, err := credential.Do(t.Context(), &calls, "it", "it", tt.f)
		require.Equal(t, tt.want, got, name)
		if tt.err == "" {
			require.NoError(t, err, name)
		} else {
			require.EqualError(t, err, tt.err, name)
		}
	}
	require.Empty(t, calls.Left())
}

// What never returns is called sixteen times at once and then ever more rarely, and counted until
// it returns.
func TestCallsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			calls   credential.Calls
			release = make(chan struct{})
			made    atomic.Int64
		)
		call := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := credential.Do(ctx, &calls, "it", "it", func(context.Context) (int, error) {
				made.Add(1)
				<-release
				return 0, nil
			})
			return err
		}
		for range 16 {
			require.EqualError(t, call(), "it has not returned after 1ms")
		}
		require.EqualError(t, call(), "it has not returned from 16 calls")
		require.EqualValues(t, 16, made.Load())
		require.Equal(t, []string{"it has not returned (16 calls)"}, calls.Left())
		_, err := credential.Do(t.Context(), &calls, 2, "it", func(context.Context) (int, error) { return 0, nil })
		require.NoError(t, err)

		for range 24 * 60 * 60 {
			_ = call()
			time.Sleep(time.Second)
		}
		require.Greater(t, made.Load(), int64(60))
		require.Less(t, made.Load(), int64(100), "a day of calls each second")

		close(release)
		synctest.Wait()
		require.Empty(t, calls.Left())
		require.False(t, calls.Hanging("it"))
		require.NoError(t, call())
	})
}
