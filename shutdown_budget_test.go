package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/stretchr/testify/require"
)

// TestBudgetIsSharedOut runs in virtual time: whatever the first signals do, metrics have their third, and the whole is
// never late.
func TestBudgetIsSharedOut(t *testing.T) {
	for _, budget := range []time.Duration{60 * time.Millisecond, 300 * time.Millisecond, time.Second, 10 * time.Second, maxDuration} {
		for name, ignores := range map[string]bool{"hangs until its context ends": false, "ignores its context": true} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var share time.Duration
				g := &Guard{}
				hanging := running{signal: traces, shutdown: func(ctx context.Context) error {
					if ignores {
						<-release
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				}}
				healthy := running{signal: metrics, shutdown: func(ctx context.Context) error {
					share = remaining(ctx)
					return nil
				}}
				begin := time.Now()
				ctx, cancel := shutdownContext(t.Context(), budget)
				defer cancel()
				require.ErrorContains(t, g.stopSignals(ctx, []running{hanging}, true), "shutdown traces", name)
				require.NoError(t, g.stopSignals(ctx, []running{healthy}, false))
				require.GreaterOrEqual(t, share, budget/5, "%s of %v", name, budget)
				require.LessOrEqual(t, time.Since(begin), budget)
				close(release)
			})
		}
	}
}

func TestShutdownContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		past, cancelPast := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
		defer cancelPast()
		now, cancelNow := context.WithTimeout(t.Context(), tooShort-1)
		defer cancelNow()
		soon, cancelSoon := context.WithTimeout(t.Context(), tooShort)
		defer cancelSoon()
		late, cancelLate := context.WithTimeout(t.Context(), time.Hour)
		defer cancelLate()
		for _, tt := range []struct {
			name string
			ctx  context.Context
			want time.Duration
		}{
			{"none", nil, timeout},
			{"without deadline", t.Context(), timeout},
			{"cancelled", cancelled, timeout},
			{"past", past, graceAfterDeadline},
			{"as good as past", now, graceAfterDeadline},
			{"soon", soon, tooShort},
			{"later than the timeout", late, timeout},
		} {
			ctx, cancel := shutdownContext(tt.ctx, timeout)
			require.NoError(t, ctx.Err(), tt.name)
			require.Equal(t, tt.want, remaining(ctx), tt.name)
			cancel()
		}
	})
}

func TestSettingsOfTimeReachTheirPlace(t *testing.T) {
	cfg := resolve(environment{
		"OTEL_BSP_SCHEDULE_DELAY": "11", "OTEL_BSP_EXPORT_TIMEOUT": "12", "OTEL_BSP_MAX_QUEUE_SIZE": "13", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "7",
		"TELEMETRY_BSP_MAX_CONCURRENT_EXPORTS": "5", "TELEMETRY_BSP_MAX_QUEUE_BYTES": "14", "OTEL_BLRP_SCHEDULE_DELAY": "21",
	}).cfg
	b := &builder{cfg: cfg, connections: newConnections(cfg, diagnose.New(func(slog.Record) {}, slog.LevelWarn, mask.Mask{}))}
	engine := b.engineConfig(traces, cfg.spanBatch)
	require.Equal(t, 11*time.Millisecond, engine.ScheduleDelay)
	require.Equal(t, 12*time.Millisecond, engine.ExportTimeout)
	require.Equal(t, 13, engine.MaxQueueSize)
	require.EqualValues(t, 14, engine.MaxQueueBytes)
	require.Equal(t, 7, engine.MaxExportBatchSize)
	require.Equal(t, 5, engine.MaxConcurrentExports)
	require.Equal(t, 21*time.Millisecond, b.engineConfig(logs, cfg.logBatch).ScheduleDelay)
}

func TestFailedNamesTheLoss(t *testing.T) {
	r := running{signal: logs}
	require.NoError(t, r.failed("shutdown", nil))
	cause := errors.New("down")
	require.ErrorIs(t, r.failed("flush", cause), cause)
}

// What several signals lost for one reason is one error, which is still every one of them.
func TestOneReasonIsOneError(t *testing.T) {
	refused, other := fmt.Errorf("refused"), fmt.Errorf("too large")
	lost := func(s signal, items int64, cause error) error {
		return running{signal: s}.failed("shutdown", &batch.LossError{Items: items, Cause: cause})
	}
	ofLogs := fmt.Errorf("refused") // reads alike, and is another one
	again := errors.New("a processor of the user's")
	err := joined(
		joined(lost(traces, 1200, refused), again, lost(logs, 1, ofLogs)),
		lost(metrics, 3, other), nil)
	require.EqualError(t, err, "telemetry: shutdown traces and logs: 1,200 spans and 1 log record not delivered: refused\n"+
		"a processor of the user's\n"+
		"telemetry: shutdown metrics: 3 data points not delivered: too large")
	for _, cause := range []error{refused, ofLogs, other, again} {
		require.ErrorIs(t, err, cause)
	}
	require.NoError(t, joined(nil, joined()))
	require.EqualError(t, joined(lost(traces, 2, refused), running{signal: logs}.failed("flush", &batch.LossError{Items: 1, Cause: refused})),
		"telemetry: shutdown traces: 2 spans not delivered: refused\ntelemetry: flush logs: 1 log record not delivered: refused")
}
