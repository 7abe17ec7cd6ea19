package pipeline

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/term"

	"github.com/fleetotel/telemetry/internal/console"
	"github.com/fleetotel/telemetry/internal/logs"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/sampling"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/version"
)

const defaultColumns = 80

// Console is the branch of the log that people and log shippers read, and the development view if
// that is on. It exists even if all signals fail to start, and the library's own lines go to it.
type Console struct {
	slog.Handler
	view      *consoleView // nil: the console exporters write JSON
	redaction *redaction   // nil if it is off
}

// NewConsole returns a console that writes log lines in the format of the view if they go to a
// terminal and no other format was set, and in slog's own format otherwise.
func NewConsole(cfg *settings.Config, env settings.Environment) *Console {
	c := &Console{view: newConsoleView(cfg, env), redaction: newRedaction(cfg)}
	out := settings.LogOutput(cfg.Asked)
	if c.view == nil {
		format := cfg.LogFormat.Value
		c.Handler = logs.NewConsoleHandler(out, format == settings.LogFormatText, cfg.LogLevel.Value,
			c.redaction.replaceAttr(format))
	} else {
		c.Handler = c.view.logHandler(cfg, out, c.redaction)
	}
	return c
}

// consoleView is the development view, on standard output. It does not change where log lines go.
type consoleView struct {
	env    settings.Environment
	screen *console.Screen
	traces *console.Traces // nil unless traces go to the console
}

// newConsoleView returns nil if no signal goes to the console, or if a program reads what goes
// there.
func newConsoleView(cfg *settings.Config, env settings.Environment) *consoleView {
	toConsole := func(s signal.Signal) bool { return cfg.Signals[s].Sends(settings.ExporterConsole) }
	if !slices.ContainsFunc(signal.All(), toConsole) {
		return nil
	}
	switch cfg.ConsoleFormat.Value {
	case settings.ConsoleJSON:
		return nil
	case settings.ConsoleAuto:
		if !isTerminal(os.Stdout) {
			return nil
		}
	}
	v := &consoleView{env: env}
	v.screen = v.on(os.Stdout)
	if toConsole(signal.Traces) {
		v.traces = console.NewTraces(v.screen).Showing(filterOf(cfg))
	}
	return v
}

func filterOf(cfg *settings.Config) console.Filter {
	named := cfg.ConsoleTraces.Value
	if slices.Contains(named, settings.ConsoleAll) {
		return console.Filter{}
	}
	f := console.Filter{Errors: slices.Contains(named, settings.ConsoleErrors)}
	if slices.Contains(named, settings.ConsoleSlow) {
		f.Slow = cfg.ConsoleSlow.Value
	}
	return f
}

// form is the format of the console exporters.
func (v *consoleView) form() string {
	if v == nil {
		return settings.ConsoleJSON
	}
	return settings.ConsoleTree
}

// logHandler returns a handler that writes log lines to out. They have the view's format if out is
// a terminal, or if a setting names the view. A log format that was set takes precedence.
//
// A screen shows each line once. If log lines go to the screen of the trees, they are written at
// once and are not repeated in the trees: they are visible even if the request hangs, or the
// process crashes before its tree is printed. If log lines go elsewhere, the trees repeat them.
func (v *consoleView) logHandler(cfg *settings.Config, out io.Writer, masked *redaction) slog.Handler {
	screen, level, trees := v.on(out), cfg.LogLevel.Value, v.traces
	if sameFile(out, os.Stdout) {
		trees = nil
	}
	replace := masked.replaceAttr(settings.LogFormatText)
	if cfg.LogFormat.IsDefault() && (isTerminal(out) || cfg.ConsoleFormat.Value == settings.ConsoleTree) {
		return console.NewLogs(screen, trees, level).Replacing(replace)
	}
	next := logs.NewConsoleHandler(screen, cfg.LogFormat.Value == settings.LogFormatText, level,
		masked.replaceAttr(cfg.LogFormat.Value))
	if trees == nil {
		return next
	}
	return console.NewLogsOver(next, trees, level).Replacing(replace)
}

func (v *consoleView) on(out io.Writer) *console.Screen {
	return console.NewScreen(out, v.hasColors(out), v.columns(out))
}

func (v *consoleView) hasColors(out io.Writer) bool {
	name := v.env["TERM"]
	return isTerminal(out) && v.env["NO_COLOR"] == "" && name != "" && name != "dumb"
}

// columns returns a function that returns the current width of the terminal. If out is not a
// terminal, the width is COLUMNS, or 80.
func (v *consoleView) columns(out io.Writer) func() int {
	fallback, err := strconv.Atoi(v.env["COLUMNS"])
	if err != nil || fallback < 1 {
		fallback = defaultColumns
	}
	return func() int {
		width := 0
		withDescriptor(out, func(fd int) { width, _, _ = term.GetSize(fd) })
		if width < 1 {
			return fallback
		}
		return width
	}
}

func isTerminal(out io.Writer) (yes bool) {
	withDescriptor(out, func(fd int) { yes = term.IsTerminal(fd) })
	return yes
}

// sameFile reports whether out and file are the same terminal, pipe or file.
func sameFile(out io.Writer, file *os.File) bool {
	other, ok := out.(*os.File)
	if !ok {
		return false
	}
	a, errA := other.Stat()
	b, errB := file.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// withDescriptor does nothing unless out is a file. [os.File.Fd] would put the file into blocking
// mode.
func withDescriptor(out io.Writer, do func(fd int)) {
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	if conn, err := file.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// consoleSpans returns the view, or a processor that writes JSON behind the local tail, as for any
// exporter. It returns none if spans do not go to the console. The view needs the start of spans
// and every recorded trace, so it is beside the tail.
func (b *builder) consoleSpans(adaptive *sampling.Sampler) ([]sdktrace.SpanProcessor, error) {
	if !b.Config.Signals[signal.Traces].Sends(settings.ExporterConsole) {
		return nil, nil
	}
	if view := b.Console.view; view != nil {
		b.Console.redaction.view(view.traces)
		if adaptive == nil {
			return []sdktrace.SpanProcessor{view.traces}, nil
		}
		// without a tail, the sampler records only what it samples
		return []sdktrace.SpanProcessor{view.traces, adaptive.Processor(nil)}, nil
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(os.Stdout))
	if err != nil {
		return nil, err
	}
	json := sdktrace.NewSimpleSpanProcessor(b.Console.redaction.spans(jsonSpans{exporter}))
	return []sdktrace.SpanProcessor{behindTail(adaptive, json)}, nil
}

// metricExporter returns the exporter of the view, or one that writes JSON. Neither shows [unasked]
// metrics.
func (v *consoleView) metricExporter(cfg *settings.Config) (sdkmetric.Exporter, error) {
	aggregation := otlp.AggregationSelector(cfg.HistogramAggregation.Value)
	if v == nil {
		exporter, err := stdoutmetric.New(stdoutmetric.WithEncoder(jsonLines{os.Stdout}),
			stdoutmetric.WithTemporalitySelector(otlp.TemporalitySelector(cfg.Temporality.Value)),
			stdoutmetric.WithAggregationSelector(aggregation))
		return askedMetrics{jsonMetrics{exporter}, unasked(cfg)}, err
	}
	shown := console.NewMetrics(v.screen, aggregation, unasked(cfg))
	if cfg.ConsoleMetrics.Value == settings.ConsoleAtShutdown {
		shown.AtTheEnd()
	}
	return shown, nil
}

// unasked returns a function that reports whether a metric is one of the Go runtime or of this
// library. Those change every few seconds even if the service does nothing. They are shown if
// TELEMETRY_RUNTIME_METRICS or TELEMETRY_SELF_METRICS says true instead of the default.
func unasked(cfg *settings.Config) func(scope, name string) bool {
	return func(scope, name string) bool {
		switch {
		case scope == runtime.ScopeName:
			return cfg.RuntimeMetrics.IsDefault()
		case scope == version.Scope && (strings.HasPrefix(name, "otel.sdk.") || strings.HasPrefix(name, "telemetry.")):
			return cfg.SelfMetrics.IsDefault()
		}
		return false
	}
}

// askedMetrics exports the metrics that hide does not name. It exports nothing if no metric is
// left.
type askedMetrics struct {
	sdkmetric.Exporter
	hide func(scope, name string) bool
}

func (e askedMetrics) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	asked := &metricdata.ResourceMetrics{Resource: all.Resource}
	for _, scope := range all.ScopeMetrics {
		kept := slices.DeleteFunc(slices.Clone(scope.Metrics),
			func(m metricdata.Metrics) bool { return e.hide(scope.Scope.Name, m.Name) })
		if len(kept) > 0 {
			asked.ScopeMetrics = append(asked.ScopeMetrics, metricdata.ScopeMetrics{Scope: scope.Scope, Metrics: kept})
		}
	}
	if len(asked.ScopeMetrics) == 0 {
		return nil
	}
	return e.Exporter.Export(ctx, asked)
}
