package otlp

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/signal"
)

func TestFailedNamesTheLoss(t *testing.T) {
	r := Running{Signal: signal.Logs}
	require.NoError(t, r.Failed("shutdown", nil))
	cause := errors.New("down")
	require.ErrorIs(t, r.Failed("flush", cause), cause)
}

// What several signals lost for one reason is one error, which is still every one of them.
func TestOneReasonIsOneError(t *testing.T) {
	refused, other := fmt.Errorf("refused"), fmt.Errorf("too large")
	lost := func(s signal.Signal, items int64, cause error) error {
		return Running{Signal: s}.Failed("shutdown", &batch.LossError{Items: items, Cause: cause})
	}
	ofLogs := fmt.Errorf("refused") // reads alike, and is another one
	again := errors.New("a processor of the user's")
	err := Join(
		Join(lost(signal.Traces, 1200, refused), again, lost(signal.Logs, 1, ofLogs)),
		lost(signal.Metrics, 3, other), nil)
	require.EqualError(t, err, "telemetry: shutdown traces and logs: 1,200 spans and 1 log record not delivered: "+
		"refused\n"+
		"a processor of the user's\n"+
		"telemetry: shutdown metrics: 3 data points not delivered: too large")
	for _, cause := range []error{refused, ofLogs, other, again} {
		require.ErrorIs(t, err, cause)
	}
	require.NoError(t, Join(nil, Join()))
	require.EqualError(t, Join(lost(signal.Traces, 2, refused),
		Running{Signal: signal.Logs}.Failed("flush", &batch.LossError{Items: 1, Cause: refused})),
		"telemetry: shutdown traces: 2 spans not delivered: refused\ntelemetry: flush logs: 1 log record not "+
			"delivered: refused")
}
