package otlptest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestWaitWakesAtEachArrival(t *testing.T) {
	c := otlptest.New(t)
	exporters := newExporters(t, c, transport{protocol: httpProtobuf})
	results := make(chan error, 1)
	go func() {
		for range 3 {
			if err := exporters.send(soon(t), otlptest.Traces, 2); err != nil {
				results <- err
				return
			}
		}
		results <- errors.Join(exporters.send(soon(t), otlptest.Logs, 2), exporters.send(soon(t), otlptest.Metrics, 2))
	}()
	spans, err := c.WaitSpans(soon(t), 5)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(spans), 5)
	records, err := c.WaitLogRecords(soon(t), 2)
	require.NoError(t, err)
	require.Len(t, records, 2)
	numbers, err := c.WaitMetric(soon(t), "numbers")
	require.NoError(t, err)
	require.Len(t, numbers.Points, 2)
	require.NoError(t, <-results)

	require.NoError(t, exporters.send(t.Context(), otlptest.Metrics, 3))
	numbers, err = c.WaitMetric(t.Context(), "numbers")
	require.NoError(t, err)
	require.Len(t, numbers.Points, 3, "the newest export")
}

func TestWaitSaysWhatHadArrived(t *testing.T) {
	c := otlptest.New(t)
	exporters := newExporters(t, c, transport{protocol: httpProtobuf})
	require.NoError(t, exporters.send(t.Context(), otlptest.Traces, 2))
	require.NoError(t, exporters.send(t.Context(), otlptest.Logs, 3))
	require.NoError(t, exporters.send(t.Context(), otlptest.Metrics, 4))
	c.SetFault(otlptest.Fault{HTTPStatus: http.StatusBadRequest})
	require.Error(t, exporters.send(t.Context(), otlptest.Traces, 9))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	spans, err := c.WaitSpans(ended, 3)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "4 requests (3 accepted) with 2 spans, 3 log records, 1 metrics")
	require.Len(t, spans, 2, "what there is, also with an error")
	records, err := c.WaitLogRecords(ended, 4)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, records, 3)
	_, err = c.WaitMetric(ended, "orders")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, `"orders"`)

	_, err = c.WaitSpans(ended, 2)
	require.NoError(t, err, "what has arrived needs no wait")
}

func TestWaitSeesARequestBeforeItsAnswer(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{Hang: true})
	results := make(chan error, 1)
	exporters := newExporters(t, c, transport{protocol: grpcProtocol})
	go func() { results <- exporters.send(soon(t), otlptest.Traces, 1) }()
	require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return len(c.Requests()) == 1 }))
	require.False(t, c.Requests()[0].Accepted)
	c.SetFault(otlptest.Fault{})
	require.NoError(t, c.Wait(soon(t), func(c *otlptest.Collector) bool { return c.Requests()[0].Accepted }))
	require.NoError(t, <-results)
}

func TestReturnedSlicesAreCopies(t *testing.T) {
	c := otlptest.New(t)
	exporters := newExporters(t, c, transport{protocol: grpcProtocol})
	for _, signal := range signals {
		require.NoError(t, exporters.send(t.Context(), signal, 1))
	}
	c.Spans()[0].Name, c.LogRecords()[0].EventName, c.Metrics()[0].Name, c.Requests()[0].Path = "", "", "", ""
	require.NotEmpty(t, c.Spans()[0].Name)
	require.NotEmpty(t, c.LogRecords()[0].EventName)
	require.NotEmpty(t, c.Metrics()[0].Name)
	require.NotEmpty(t, c.Requests()[0].Path)
}

// fakeTB is a test that New can fail.
type fakeTB struct {
	failure string
	cleanup []func()
}

func (f *fakeTB) Helper()                           {}
func (f *fakeTB) Fatalf(format string, args ...any) { f.failure = fmt.Sprintf(format, args...) }
func (f *fakeTB) Cleanup(do func())                 { f.cleanup = append(f.cleanup, do) }

func TestNewClosesWithItsTest(t *testing.T) {
	tb := &fakeTB{}
	c := otlptest.New(tb)
	require.Empty(t, tb.failure)
	require.Len(t, tb.cleanup, 1)
	tb.cleanup[0]()
	require.ErrorContains(t, c.Up(), "closed")
}
