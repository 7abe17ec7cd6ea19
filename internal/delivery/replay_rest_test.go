package delivery_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// A segment that cannot even be put into a request does not hold up the others.
func TestSegmentThatCannotBeSentDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		require.NoError(t, d.store.Put(spool.Request{Signal: signal.Traces, Items: 1, Plain: 10,
			Gzip: []byte("no gzip")}))
		d.set(gone)
		for _, name := range []string{"a", "b"} {
			require.EqualValues(t, 1, d.send(t.Context(), name, 1).Spooled)
		}
		d.set(fine)
		t.Cleanup(d.stop)
		d.replay = delivery.Replay(d.store, signal.Traces, plainSender(d))
		time.Sleep(time.Minute)
		_, took := d.seen()
		require.Equal(t, []string{"a", "b"}, took)
		require.EqualValues(t, 1, d.close().Held, "it is not dropped either")
	})
}

// plainSender decompresses what is on disk, as gRPC's does.
func plainSender(d *depot) delivery.Sender {
	compressed := delivery.HTTPSender(d.client, "http://c:4318/v1/traces", nil, true)
	return func(ctx context.Context, r spool.Request) error {
		if _, err := r.Body(); err != nil {
			return err
		}
		return compressed(ctx, r)
	}
}

// While the replayer rests, because the endpoint refused its key, live requests may shut the gate
// and go to disk: then only the replayer can find out that the endpoint is back.
func TestReplayerDoesNotRestWhileLiveRequestsGoToDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		d.send(t.Context(), "old", 1)
		d.set(replying(http.StatusUnauthorized))
		d.start()
		time.Sleep(time.Hour) // its rests are the longest by now
		d.set(replying(http.StatusServiceUnavailable))
		require.EqualValues(t, 1, d.send(t.Context(), "a", 1).Spooled)
		d.set(fine)
		time.Sleep(5 * time.Second)
		require.EqualValues(t, 1, d.send(t.Context(), "b", 1).Exported, "the gate is open again")
		require.EqualValues(t, 2, d.close().Exported)
	})
}

// The last call of a replayer is for an endpoint that takes what it sends.
func TestReplayerDoesNotInsistAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(gone)
		d.send(t.Context(), "old", 1)
		d.set(func(names string, r *http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return replying(http.StatusUnauthorized)(names, r)
		})
		d.start()
		time.Sleep(time.Minute)
		before, _ := d.seen()
		require.EqualValues(t, 1, d.close().Held)
		after, _ := d.seen()
		require.LessOrEqual(t, len(after)-len(before), 1)
	})
}

// However long the endpoint is away, the store says that its process lives, and looks at what
// others have left.
func TestReplayerAdoptsDuringAnOutage(t *testing.T) {
	for name, answer := range map[string]func(string, *http.Request) (*http.Response, error){
		"down": gone, "wrong key": replying(http.StatusUnauthorized), "throttled": replying(http.StatusTooManyRequests,
			"Retry-After", "86400"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(gone)
				d.send(t.Context(), "mine", 1)
				d.set(answer)
				d.start()
				time.Sleep(time.Hour)
				other, err := spool.Open(spool.Config{Dir: filepath.Clean(d.dir), MaxBytes: 1 << 20})
				require.NoError(t, err)
				require.NoError(t, other.Put(spool.Request{Signal: signal.Traces, Items: 3, Plain: 100,
					Gzip: []byte("gzip")}))
				other.Close()
				time.Sleep(2 * time.Minute)
				require.EqualValues(t, 3, d.store.Snapshot(signal.Traces).Recovered)
			})
		})
	}
}
