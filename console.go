package telemetry

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
)

// terminalVariables tell about the terminal (no-color.org; POSIX, "Environment Variables").
var terminalVariables = []string{"NO_COLOR", "COLUMNS", "TERM"}

const defaultColumns = 80

// consoleView is the development view, on standard output; log lines go where they go without it.
type consoleView struct {
	env    environment
	screen *console.Screen
	traces *console.Traces // nil unless traces go to the console
}

// newConsoleView is nil where no signal goes to the console, or a program reads what does.
func newConsoleView(cfg *config, env environment) *consoleView {
	toConsole := func(s signal) bool { return cfg.signals[s].sends(exporterConsole) }
	if !slices.ContainsFunc(allSignals(), toConsole) {
		return nil
	}
	switch cfg.consoleFormat.value {
	case consoleJSON:
		return nil
	case consoleAuto:
		if !isTerminal(os.Stdout) {
			return nil
		}
	}
	v := &consoleView{env: env}
	v.screen = v.on(os.Stdout)
	if toConsole(traces) {
		v.traces = console.NewTraces(v.screen).Showing(filterOf(cfg))
	}
	return v
}

func filterOf(cfg *config) console.Filter {
	named := cfg.consoleTraces.value
	if slices.Contains(named, consoleAll) {
		return console.Filter{}
	}
	f := console.Filter{Errors: slices.Contains(named, consoleErrors)}
	if slices.Contains(named, consoleSlow) {
		f.Slow = cfg.consoleSlow.value
	}
	return f
}

// form is how the console exporters write.
func (v *consoleView) form() string {
	if v == nil {
		return consoleJSON
	}
	return consoleTree
}

// logHandler writes log lines to out. They have the view's form where a person reads them: on a terminal, or where the
// view was asked for by name. A log format that was asked for stays.
//
// A screen has each line once. Where log lines go to the screen of the trees, they stay lines: they are there at once, also
// when the request hangs or the process crashes before there is a tree. Where they go elsewhere, the trees have them.
func (v *consoleView) logHandler(cfg *config, out io.Writer, masked *redaction) slog.Handler {
	screen, level, trees := v.on(out), cfg.logLevel.value, v.traces
	if sameFile(out, os.Stdout) {
		trees = nil
	}
	replace := masked.replaceAttr(LogFormatText)
	if cfg.logFormat.isDefault() && (isTerminal(out) || cfg.consoleFormat.value == consoleTree) {
		return console.NewLogs(screen, trees, level).Replacing(replace)
	}
	next := newConsoleHandler(screen, cfg.logFormat.value, level, masked.replaceAttr(cfg.logFormat.value))
	if trees == nil {
		return next
	}
	return console.NewLogsOver(next, trees, level).Replacing(replace)
}

func (v *consoleView) on(out io.Writer) *console.Screen {
	return console.NewScreen(out, v.hasColours(out), v.columns(out))
}

func (v *consoleView) hasColours(out io.Writer) bool {
	name := v.env["TERM"]
	return isTerminal(out) && v.env["NO_COLOR"] == "" && name != "" && name != "dumb"
}

// columns are the terminal's, as often as it is asked; elsewhere those of COLUMNS, or 80.
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

// sameFile tells whether what is written to out and to file comes together: on one terminal, or in one pipe.
func sameFile(out io.Writer, file *os.File) bool {
	other, ok := out.(*os.File)
	if !ok {
		return false
	}
	a, errA := other.Stat()
	b, errB := file.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// withDescriptor does nothing unless out is a file. [os.File.Fd] would put the file into blocking mode.
func withDescriptor(out io.Writer, do func(fd int)) {
	file, ok := out.(*os.File)
	if !ok {
		return
	}
	if conn, err := file.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// consoleSpans adds the view, or JSON behind the local tail as for any exporter. The view wants to see the start of
// spans and every trace that is recorded, so it stands beside the tail.
func (b *builder) consoleSpans(export, add func(sdktrace.SpanProcessor)) error {
	if b.view != nil {
		b.redaction.view(b.view.traces)
		add(b.view.traces)
		export(discard{}) // without a tail the adaptive sampler records only what it samples
		return nil
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(os.Stdout))
	if err != nil {
		return err
	}
	export(sdktrace.NewSimpleSpanProcessor(b.redaction.spans(jsonSpans{exporter})))
	return nil
}

// metricExporter is the view's, or writes JSON. Neither has what was not asked for.
func (v *consoleView) metricExporter(cfg *config) (sdkmetric.Exporter, error) {
	aggregation := aggregationSelector(cfg.histogramAggregation.value)
	if v == nil {
		exporter, err := stdoutmetric.New(stdoutmetric.WithEncoder(jsonLines{os.Stdout}),
			stdoutmetric.WithTemporalitySelector(temporalitySelector(cfg.temporality.value)),
			stdoutmetric.WithAggregationSelector(aggregation))
		return askedMetrics{jsonMetrics{exporter}, unasked(cfg)}, err
	}
	shown := console.NewMetrics(v.screen, aggregation, unasked(cfg))
	if cfg.consoleMetrics.value == consoleAtShutdown {
		shown.AtTheEnd()
	}
	return shown, nil
}

// unasked are the metrics of the Go runtime and of this library, which change every few seconds whatever the service
// does. They are shown if TELEMETRY_RUNTIME_METRICS or TELEMETRY_SELF_METRICS says true instead of the default.
func unasked(cfg *config) func(scope, name string) bool {
	return func(scope, name string) bool {
		switch {
		case scope == runtime.ScopeName:
			return cfg.runtimeMetrics.isDefault()
		case scope == scopeName && (strings.HasPrefix(name, "otel.sdk.") || strings.HasPrefix(name, "telemetry.")):
			return cfg.selfMetrics.isDefault()
		}
		return false
	}
}

// askedMetrics exports all but what hide names, and nothing if that is all.
type askedMetrics struct {
	sdkmetric.Exporter
	hide func(scope, name string) bool
}

func (e askedMetrics) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	asked := &metricdata.ResourceMetrics{Resource: all.Resource}
	for _, scope := range all.ScopeMetrics {
		kept := slices.DeleteFunc(slices.Clone(scope.Metrics), func(m metricdata.Metrics) bool { return e.hide(scope.Scope.Name, m.Name) })
		if len(kept) > 0 {
			asked.ScopeMetrics = append(asked.ScopeMetrics, metricdata.ScopeMetrics{Scope: scope.Scope, Metrics: kept})
		}
	}
	if len(asked.ScopeMetrics) == 0 {
		return nil
	}
	return e.Exporter.Export(ctx, asked)
}
