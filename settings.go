package telemetry

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
)

// settings is the table: every setting, its sources, its default and the reason for it. It generates docs/settings.md
// and drives the tests.
func settings() []row {
	rows := append(generalRows(), redactionRows()...)
	for _, s := range allSignals() {
		rows = append(rows, signalRows(s)...)
	}
	rows = append(rows, traceRows()...)
	rows = append(rows, metricRows()...)
	return append(rows, logRows()...)
}

func generalRows() []row {
	rows := []row{
		// The profile comes first: the defaults of all other rows depend on it.
		typedRow[Profile]{
			rowInfo{name: "profile", option: "WithProfile", env: []string{"TELEMETRY_PROFILE"}, defaults: always(string(ProfileService))},
			enum(ProfileService, ProfileHighThroughput, ProfileEdge, ProfileDevelopment),
			func(c *config) *setting[Profile] { return &c.profile },
			func(o *options) *Profile { return o.profile },
		},
		typedRow[bool]{
			rowInfo{
				name: "disabled", option: "WithDisabled", env: []string{"OTEL_SDK_DISABLED"}, defaults: always("false"),
				reason: "context still propagates and the console log still works when it is true; the SDK itself ignores it",
			},
			boolean(), func(c *config) *setting[bool] { return &c.disabled },
			func(o *options) *bool { return nonZero(&o.disabled) }, // false leaves the decision to the operator
		},
		typedRow[slog.Level]{
			rowInfo{
				name: "self-log level", env: []string{"OTEL_LOG_LEVEL"}, defaults: always("info"),
				reason: "what the library and the SDK say about themselves; the SDK itself ignores it",
			},
			selfLogLevel(), func(c *config) *setting[slog.Level] { return &c.selfLogLevel }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "console format", env: []string{"TELEMETRY_CONSOLE_FORMAT"}, defaults: always(consoleAuto),
				reason: "of exporters that are console: tree is for people, json for programs; auto is tree on a terminal. NO_COLOR, TERM=dumb and COLUMNS are honoured",
			},
			enum(consoleAuto, consoleTree, consoleJSON), func(c *config) *setting[string] { return &c.consoleFormat }, nil,
		},
		typedRow[[]string]{
			rowInfo{
				name: "console traces", env: []string{"TELEMETRY_CONSOLE_TRACES"}, defaults: always(consoleAll),
				reason: "which trees are shown: all, or those with errors, the slow ones, or both (errors,slow); what hangs or is unfinished always is",
			},
			nameList(consoleAll, consoleErrors, consoleSlow), func(c *config) *setting[[]string] { return &c.consoleTraces }, nil,
		},
		typedRow[time.Duration]{
			rowInfo{
				name: "console slow threshold", env: []string{"TELEMETRY_CONSOLE_SLOW_THRESHOLD"}, defaults: always("500"),
				reason: "what slow means in TELEMETRY_CONSOLE_TRACES",
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return &c.consoleSlow }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "console metrics", env: []string{"TELEMETRY_CONSOLE_METRICS"}, defaults: always(consoleAtShutdown),
				reason: "a table at ForceFlush and Shutdown, or one at each interval in which something changes, between the log lines",
			},
			enum(consoleAtShutdown, consoleChanges), func(c *config) *setting[string] { return &c.consoleMetrics }, nil,
		},
		typedRow[time.Duration]{
			rowInfo{
				name: "shutdown timeout", option: "WithShutdownTimeout", env: []string{"TELEMETRY_SHUTDOWN_TIMEOUT"}, defaults: defaults{"10000", "10000", "10000", "2000"},
				reason: "fits into Kubernetes' 30 s beside the draining of requests, and is used up only when the collector is away; the SDK waits as long as its context",
			},
			milliseconds(), func(c *config) *setting[time.Duration] { return &c.shutdownTimeout },
			func(o *options) *time.Duration { return o.shutdownTimeout },
		},
		typedRow[string]{
			rowInfo{
				name: "spool directory", option: "WithSpool", env: []string{"TELEMETRY_SPOOL_DIR"},
				reason: "keeps on disk what cannot be delivered; not set: no spool, in any profile. The SDK has none",
			},
			text(), func(c *config) *setting[string] { return &c.spoolDir }, func(o *options) *string { return o.spoolDir },
		},
		typedRow[int64]{
			rowInfo{
				name: "spool bytes", option: "WithSpool", env: []string{"TELEMETRY_SPOOL_MAX_BYTES"},
				defaults: defaults{"268435456", "1073741824", "67108864", "67108864"},
				reason:   "files of one process, the oldest go first; 256 MiB hold some 3 million spans",
			},
			byteSize(), func(c *config) *setting[int64] { return &c.spoolBytes }, func(o *options) *int64 { return o.spoolBytes },
		},
		typedRow[bool]{
			rowInfo{
				name: "probe", env: []string{"TELEMETRY_PROBE"}, defaults: always("true"),
				reason: "asks each OTLP endpoint once, in the background, with a request without items; the SDK asks nothing",
			},
			boolean(), func(c *config) *setting[bool] { return &c.probe }, nil,
		},
		typedRow[string]{
			rowInfo{
				name: "service.name", option: "WithServiceName", env: []string{"OTEL_SERVICE_NAME"},
				reason: "falls back to service.name in OTEL_RESOURCE_ATTRIBUTES, then to the binary's name",
			},
			text(), func(c *config) *setting[string] { return &c.serviceName }, func(o *options) *string { return o.serviceName },
		},
		typedRow[string]{
			rowInfo{name: "service.version", option: "WithServiceVersion", reason: "falls back to the build information"},
			text(), func(c *config) *setting[string] { return &c.serviceVersion }, func(o *options) *string { return o.serviceVersion },
		},
		typedRow[string]{
			rowInfo{name: "service.namespace", option: "WithServiceNamespace"},
			text(), func(c *config) *setting[string] { return &c.serviceNamespace }, func(o *options) *string { return o.serviceNamespace },
		},
		typedRow[string]{
			rowInfo{name: "deployment.environment.name", option: "WithEnvironment"},
			text(), func(c *config) *setting[string] { return &c.environment }, func(o *options) *string { return o.environment },
		},
		typedRow[[]attribute.KeyValue]{
			rowInfo{name: "resource attributes", option: "WithResourceAttributes", reason: "added to those of the environment, key by key"},
			attributeList(), func(c *config) *setting[[]attribute.KeyValue] { return &c.resourceAttributes },
			func(o *options) *[]attribute.KeyValue {
				if o.resourceAttributes == nil {
					return nil
				}
				return &o.resourceAttributes
			},
		},
		typedRow[[]attribute.KeyValue]{
			rowInfo{
				name: "resource attributes of the environment", env: []string{"OTEL_RESOURCE_ATTRIBUTES"},
				reason: "above all detectors, below the options",
			},
			attributeList(), func(c *config) *setting[[]attribute.KeyValue] { return &c.envAttributes }, nil,
		},
		typedRow[propagators]{
			rowInfo{
				name: "propagators", option: "WithPropagators", env: []string{"OTEL_PROPAGATORS"}, defaults: always("tracecontext,baggage"),
				reason: "W3C, as the specification says; the SDK's own default is none at all",
			},
			propagatorList(), func(c *config) *setting[propagators] { return &c.propagators },
			func(o *options) *propagators {
				if o.propagators == nil {
					return nil
				}
				return &propagators{given: append([]propagation.TextMapPropagator{}, *o.propagators...)}
			},
		},
	}
	for i := range kubernetesCount {
		rows = append(rows, typedRow[string]{
			rowInfo{
				name: kubernetesVariables[i].attribute, env: []string{kubernetesVariables[i].env},
				reason: "from Kubernetes' downward API",
			},
			text(), func(c *config) *setting[string] { return &c.kubernetes[i] }, nil,
		})
	}
	return rows
}
