package telemetry_test

import (
	"log"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// A logger that was made from slog's default before Init writes through package log into the new default. Levels and
// attributes are made out in the text; that the ids are lost is said once.
func TestALoggerMadeBeforeInit(t *testing.T) {
	if !isChild() {
		runChild(t)
		return
	}
	early := slog.Default()
	with := early.With("shop", "eu").WithGroup("card")
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console),
		telemetry.WithLogLevel(slog.LevelWarn), telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)

	early.Error("card declined", "order.id", 7)
	with.Warn("try a=1 again", "text", "two words", "quoted", `"`, "none", "", "ok", true, "id", "007")
	early.Log(t.Context(), slog.LevelError+2, "no attributes")
	early.Error("")
	early.Info("below the level")
	log.Print("ERROR of package log a=1")
	log.Print("plain")
	flushed(t, guard)

	type arrived struct {
		body, severity string
		attributes     map[string]any
	}
	var got []arrived
	for _, r := range c.LogRecords() {
		got = append(got, arrived{r.Body.(string), r.SeverityText, r.Attributes})
	}
	require.Equal(t, []arrived{
		{"card declined", "ERROR", map[string]any{"order.id": int64(7)}},
		{"try a=1 again", "WARN", map[string]any{"shop": "eu", "card.text": "two words", "card.quoted": `"`, "card.none": "", "card.ok": true, "card.id": "007"}},
		{"no attributes", "ERROR+2", map[string]any{}},
		{"", "ERROR", map[string]any{}},
	}, got)
	require.Contains(t, console.String(), `"level":"ERROR","msg":"card declined","order.id":7`)
	require.Eventually(t, func() bool { return strings.Contains(console.String(), "made from slog.Default() before Init") }, 5*time.Second, time.Millisecond)
	require.Equal(t, 1, strings.Count(console.String(), "made from slog.Default() before Init"))
	require.Contains(t, console.String(), "earlylogger_test.go:")
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Empty(t, log.Prefix())
	early.Info("back to where it was")
}

// What package log itself writes stays a message at slog's level for it, whatever it looks like.
func TestPackageLogIsNotTakenForALogger(t *testing.T) {
	if !isChild() {
		runChild(t)
		return
	}
	c := otlptest.New(t)
	console := &syncBuffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithServiceName("test"), telemetry.WithLogOutput(console), telemetry.WithEndpoint(c.HTTPEndpoint()))
	require.NoError(t, err)
	log.Print("ERROR a=1")
	slog.SetLogLoggerLevel(slog.LevelWarn)
	log.Print("WARN-ing")
	slog.Default().Info("ERROR b=2")
	flushed(t, guard)
	require.Equal(t, []string{"ERROR a=1", "WARN-ing", "ERROR b=2"}, logBodies(c))
	require.Equal(t, "INFO", c.LogRecords()[0].SeverityText)
	require.Equal(t, "WARN", c.LogRecords()[1].SeverityText)
	require.NotContains(t, console.String(), "slog.Default()")
	require.NoError(t, guard.Shutdown(t.Context()))
}
