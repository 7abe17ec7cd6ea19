package otlp

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/signal"
)

// The advice is in the line that is written, and not in one that is only counted.
func TestTheFirstOfSeveralLossesAtOnceHasTheAdvice(t *testing.T) {
	refused := &explainedError{text: "401: set the headers", brief: "401", cause: errors.New("401")}
	for range 200 {
		var said []string
		log := selflog.New(func(r slog.Record) { said = append(said, r.Message) }, slog.LevelInfo, mask.Mask{})
		o := &Outages{selfLog: log, explainer: &Explainer{told: map[string]bool{}}}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { o.Lost(signal.Traces, 1, refused) })
		}
		all.Wait()
		require.NoError(t, log.Drain(time.Minute))
		require.Equal(t, []string{"telemetry: 1 span was lost: 401: set the headers"}, said)
	}
}

// A line that refers to another signal's comes after that one.
func TestSignalsThatGoDownAtOnceReferToTheFirstLine(t *testing.T) {
	for range 200 {
		var said []string
		log := selflog.New(func(r slog.Record) { said = append(said, r.Message) }, slog.LevelInfo, mask.Mask{})
		o := &Outages{selfLog: log, explainer: &Explainer{told: map[string]bool{}}}
		var all sync.WaitGroup
		for _, s := range signal.All() {
			all.Go(func() { o.down(s, errors.New("nothing listens")) })
		}
		all.Wait()
		require.NoError(t, log.Drain(time.Minute))
		require.Len(t, said, 3)
		require.Contains(t, said[0], "cannot be delivered: nothing listens")
		require.Contains(t, said[1]+said[2], "cannot be delivered either, for the same reason as")
		require.NotContains(t, said[1]+said[2], "nothing listens")
	}
}
