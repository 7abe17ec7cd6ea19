package otlp

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Losses for a cause are added up, whatever varies in its words, and no number gets lost.
func TestSummaryAddsUp(t *testing.T) {
	var said []string
	log := selflog.New(func(r slog.Record) {
		said = append(said, r.Level.String()+" "+strings.TrimPrefix(r.Message, "telemetry: "))
	}, slog.LevelInfo, mask.Mask{})
	o := &Outages{selfLog: log, explainer: &Explainer{}}
	o.BeginSummary()
	for i := range int64(3) {
		o.Lost(signal.Traces, 1, fmt.Errorf("http://c:4318: 503 (%d attempts in %ds)", i+2, i+1))
		o.Lost(signal.Logs, 10, fmt.Errorf("http://c:4318: 503 (%d attempts in %ds)", i+5, i+1))
	}
	o.Lost(signal.Logs, 1, errors.New("the queue is full"))
	o.Lost(signal.Metrics, 7, errors.New("the queue is full"))
	o.Lost(signal.Metrics, 1, errors.New("too large"))
	o.Lost(signal.Metrics, 1, errors.New("too large"))
	require.NoError(t, log.Drain(time.Second))
	require.Empty(t, said)
	o.EndSummary()
	o.EndSummary()
	o.Lost(signal.Traces, 5, errors.New("the server is down"))
	log.Close()
	require.NoError(t, log.Drain(time.Second))
	require.Equal(t, []string{
		"ERROR 3 spans and 30 log records were lost: http://c:4318: 503 (2 attempts in 1s)",
		"ERROR 7 data points and 1 log record were lost: the queue is full",
		"ERROR 2 data points were lost: too large",
		"ERROR 5 spans were lost: the server is down",
	}, said)
}

// several is an error of a type that cannot be compared, as some validators return.
type several []error

func (s several) Error() string { return errors.Join(s...).Error() }

// A service's own exporter may fail with any error.
func TestErrorThatCannotBeComparedIsReported(t *testing.T) {
	var said []string
	log := selflog.New(func(r slog.Record) { said = append(said, r.Message) }, slog.LevelInfo, mask.Mask{})
	o := &Outages{selfLog: log, explainer: &Explainer{}}
	o.Lost(signal.Traces, 2, several{errors.New("disk full")})
	require.NoError(t, log.Drain(time.Second))
	require.Equal(t, []string{"telemetry: 2 spans were lost: disk full"}, said)
}
