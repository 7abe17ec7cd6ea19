package diagnose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

// clock is advanced by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newLog(level slog.Level) (*diagnose.Log, *clock, *[]slog.Record) {
	var mu sync.Mutex
	var records []slog.Record
	c := &clock{time.Unix(1000, 0)}
	return diagnose.New(func(r slog.Record) {
		mu.Lock()
		defer mu.Unlock()
		records = append(records, r)
	}, level, c.now), c, &records
}

func repeated(r slog.Record) (n int64) {
	r.Attrs(func(a slog.Attr) bool { n = a.Value.Int64(); return false })
	return n
}

func TestEachCauseSpeaksOnceAMinute(t *testing.T) {
	log, clock, records := newLog(slog.LevelInfo)
	for i := range 100 {
		log.Handle(fmt.Errorf("dial tcp 127.0.0.1:%d: connection refused", 40000+i)) // ports differ, the cause does not
	}
	log.Handle(errors.New("another cause"))
	log.Handle(nil)
	require.Len(t, *records, 2)

	clock.t = clock.t.Add(time.Minute - 1)
	log.Handle(errors.New("dial tcp 127.0.0.1:1: connection refused"))
	require.Len(t, *records, 2)
	clock.t = clock.t.Add(1)
	log.Handle(errors.New("dial tcp 127.0.0.1:1: connection refused"))
	require.Len(t, *records, 3)
	require.EqualValues(t, 100, repeated((*records)[2]))
	require.Equal(t, "telemetry: dial tcp 127.0.0.1:1: connection refused", (*records)[2].Message)
}

func TestCausesAreBounded(t *testing.T) {
	log, _, records := newLog(slog.LevelInfo)
	for i := range 1000 {
		log.Handle(errors.New(strings.Repeat("x", i+1)))
	}
	require.Len(t, *records, 257, "beyond 256 causes, the rest counts as one")
}

func TestLinesStayLines(t *testing.T) {
	log, _, records := newLog(slog.LevelInfo)
	log.Handle(errors.New("502: <html>\r\n\t" + strings.Repeat("a page ", 1000)))
	require.NotContains(t, (*records)[0].Message, "\n")
	require.Less(t, len((*records)[0].Message), 700)
}

func TestLevel(t *testing.T) {
	log, _, records := newLog(slog.LevelWarn)
	log.Say(slog.LevelInfo, "too low")
	log.Say(slog.LevelWarn, "high enough")
	require.Len(t, *records, 1)
}

func TestRelayFollowsTheCurrentLog(t *testing.T) {
	fallback, _, fallbackRecords := newLog(slog.LevelWarn)
	current, _, currentRecords := newLog(slog.LevelInfo)
	relay := diagnose.NewRelay(fallback)
	relay.Handle(errors.New("before"))
	relay.Use(current)
	relay.Handle(errors.New("during"))
	relay.Muted(func() { relay.Handle(errors.New("while building")) })
	relay.Handle(context.Canceled)
	relay.Use(nil)
	relay.Handle(errors.New("after"))
	require.Len(t, *fallbackRecords, 2)
	require.Len(t, *currentRecords, 1)
	require.Equal(t, "telemetry: during", (*currentRecords)[0].Message)
}

func TestRelayLoggerPassesNoValues(t *testing.T) {
	var buf bytes.Buffer
	log := diagnose.New(diagnose.ToHandler(slog.NewTextHandler(&buf, nil)), slog.LevelDebug, time.Now)
	relay := diagnose.NewRelay(log)
	logger := relay.Logger().WithName("exporter").WithValues("header", "s3cr3t")
	logger.Error(errors.New("missing '='"), "parse headers", "input", "s3cr3t")
	logger.V(1).Info("dropped", "value", "s3cr3t")
	logger.V(4).Info("made a tracer", "value", "s3cr3t")
	require.NotContains(t, buf.String(), "s3cr3t")
	require.Contains(t, buf.String(), "level=ERROR msg=\"telemetry: parse headers: missing '='\"")
	require.Contains(t, buf.String(), "level=WARN msg=\"telemetry: dropped\"")
	require.Contains(t, buf.String(), "level=DEBUG msg=\"telemetry: made a tracer\"")
}

func TestConcurrentSafe(t *testing.T) {
	log, _, records := newLog(slog.LevelInfo)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				log.Handle(fmt.Errorf("cause %c", 'a'+i))
			}
		})
	}
	wg.Wait()
	require.Len(t, *records, 8)
}
