package settings

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/signal"
)

const kubernetesCount = 6

// KubernetesVariables are filled by the downward API of Kubernetes.
var KubernetesVariables = [kubernetesCount]struct{ env, Attribute string }{
	{"K8S_POD_NAME", string(semconv.K8SPodNameKey)},
	{"K8S_POD_UID", string(semconv.K8SPodUIDKey)},
	{"K8S_NAMESPACE_NAME", string(semconv.K8SNamespaceNameKey)},
	{"K8S_NODE_NAME", string(semconv.K8SNodeNameKey)},
	{"K8S_CONTAINER_NAME", string(semconv.K8SContainerNameKey)},
	{"K8S_DEPLOYMENT_NAME", string(semconv.K8SDeploymentNameKey)},
}

// Rows is the table: every setting, its sources, its default and the reason for it. It generates
// docs/settings.md and drives the tests.
func Rows() []Row {
	rows := append(generalRows(), redactionRows()...)
	for _, s := range signal.All() {
		rows = append(rows, SignalRows(s)...)
	}
	rows = append(rows, traceRows()...)
	rows = append(rows, metricRows()...)
	return append(rows, logRows()...)
}

func generalRows() []Row {
	rows := []Row{
		// The profile comes first: the defaults of all other rows depend on it.
		typedRow[string]{
			Info{Name: "profile", Option: "WithProfile", Env: []string{"TELEMETRY_PROFILE"},
				Defaults: Always(ProfileService)},
			enum(ProfileService, ProfileHighThroughput, ProfileEdge, ProfileDevelopment),
			func(c *Config) *Setting[string] { return &c.profile },
			func(o *Asked) *string { return o.Profile },
		},
		typedRow[bool]{
			Info{
				Name: "disabled", Option: "WithDisabled", Env: []string{"OTEL_SDK_DISABLED"}, Defaults: Always("false"),
				Reason: "if true, context still propagates and the console log still works; the SDK ignores it",
			},
			boolean(), func(c *Config) *Setting[bool] { return &c.Disabled },
			func(o *Asked) *bool { return nonZero(&o.Disabled) }, // false leaves the decision to the operator
		},
		typedRow[slog.Level]{
			Info{
				Name: "self-log level", Env: []string{"OTEL_LOG_LEVEL"}, Defaults: Always("info"),
				Reason: "level of the library's and the SDK's own log lines; the SDK ignores it",
			},
			selfLogLevel(), func(c *Config) *Setting[slog.Level] { return &c.SelfLogLevel }, nil,
		},
		typedRow[string]{
			Info{
				Name: "console format", Env: []string{"TELEMETRY_CONSOLE_FORMAT"}, Defaults: Always(ConsoleAuto),
				Reason: "for console exporters: tree is for people, json for programs; auto is tree on a terminal. " +
					"NO_COLOR, TERM=dumb and COLUMNS apply",
			},
			enum(ConsoleAuto, ConsoleTree, ConsoleJSON), func(c *Config) *Setting[string] { return &c.ConsoleFormat },
			nil,
		},
		typedRow[[]string]{
			Info{
				Name: "console traces", Env: []string{"TELEMETRY_CONSOLE_TRACES"}, Defaults: Always(ConsoleAll),
				Reason: "which trees are shown: all, or only those with errors, slow ones, or both (errors,slow); " +
					"hanging and unfinished ones are always shown",
			},
			nameList(ConsoleAll, ConsoleErrors, ConsoleSlow),
			func(c *Config) *Setting[[]string] { return &c.ConsoleTraces }, nil,
		},
		typedRow[time.Duration]{
			Info{
				Name: "console slow threshold", Env: []string{"TELEMETRY_CONSOLE_SLOW_THRESHOLD"},
				Defaults: Always("500"),
				Reason:   "the meaning of slow in TELEMETRY_CONSOLE_TRACES",
			},
			milliseconds(), func(c *Config) *Setting[time.Duration] { return &c.ConsoleSlow }, nil,
		},
		typedRow[string]{
			Info{
				Name: "console metrics", Env: []string{"TELEMETRY_CONSOLE_METRICS"},
				Defaults: Always(ConsoleAtShutdown),
				Reason: "shutdown: a table at ForceFlush and Shutdown; changes: one between the log lines in each " +
					"interval with a change",
			},
			enum(ConsoleAtShutdown, consoleChanges), func(c *Config) *Setting[string] { return &c.ConsoleMetrics }, nil,
		},
		typedRow[time.Duration]{
			Info{
				Name: "shutdown timeout", Option: "WithShutdownTimeout", Env: []string{"TELEMETRY_SHUTDOWN_TIMEOUT"},
				Defaults: Defaults{"10000", "10000", "10000", "2000"},
				Reason: "with the draining of requests, fits into Kubernetes' 30 s; used up only if the collector " +
					"is down. The SDK waits as long as its context",
			},
			milliseconds(), func(c *Config) *Setting[time.Duration] { return &c.ShutdownTimeout },
			func(o *Asked) *time.Duration { return o.ShutdownTimeout },
		},
		typedRow[string]{
			Info{
				Name: "spool directory", Option: "WithSpool", Env: []string{"TELEMETRY_SPOOL_DIR"},
				Reason: "keeps undelivered data on disk; if not set, there is no spool, in any profile. The SDK has none",
			},
			text(), func(c *Config) *Setting[string] { return &c.SpoolDir },
			func(o *Asked) *string { return o.SpoolDir },
		},
		typedRow[int64]{
			Info{
				Name: "spool bytes", Option: "WithSpool", Env: []string{"TELEMETRY_SPOOL_MAX_BYTES"},
				Defaults: Defaults{"268435456", "1073741824", "67108864", "67108864"},
				Reason:   "per process; the oldest files are deleted first. 256 MiB hold about 3 million spans",
			},
			byteSize(), func(c *Config) *Setting[int64] { return &c.SpoolBytes },
			func(o *Asked) *int64 { return o.SpoolBytes },
		},
		typedRow[bool]{
			Info{
				Name: "probe", Env: []string{"TELEMETRY_PROBE"}, Defaults: Always("true"),
				Reason: "sends each OTLP endpoint one empty request, in the background; the SDK has no probe",
			},
			boolean(), func(c *Config) *Setting[bool] { return &c.Probe }, nil,
		},
		typedRow[string]{
			Info{
				Name: "service.name", Option: "WithServiceName", Env: []string{"OTEL_SERVICE_NAME"},
				Reason: "falls back to service.name in OTEL_RESOURCE_ATTRIBUTES, then to the binary's name",
			},
			text(), func(c *Config) *Setting[string] { return &c.ServiceName },
			func(o *Asked) *string { return o.ServiceName },
		},
		typedRow[string]{
			Info{Name: "service.version", Option: "WithServiceVersion", Reason: "falls back to the build information"},
			text(), func(c *Config) *Setting[string] { return &c.ServiceVersion },
			func(o *Asked) *string { return o.ServiceVersion },
		},
		typedRow[string]{
			Info{Name: "service.namespace", Option: "WithServiceNamespace"},
			text(), func(c *Config) *Setting[string] { return &c.ServiceNamespace },
			func(o *Asked) *string { return o.ServiceNamespace },
		},
		typedRow[string]{
			Info{Name: "deployment.environment.name", Option: "WithEnvironment"},
			text(), func(c *Config) *Setting[string] { return &c.Environment },
			func(o *Asked) *string { return o.Environment },
		},
		typedRow[[]attribute.KeyValue]{
			Info{Name: "resource attributes", Option: "WithResourceAttributes",
				Reason: "added to those of the environment; for the same key, the option wins"},
			attributeList(), func(c *Config) *Setting[[]attribute.KeyValue] { return &c.ResourceAttributes },
			func(o *Asked) *[]attribute.KeyValue {
				if o.ResourceAttributes == nil {
					return nil
				}
				return &o.ResourceAttributes
			},
		},
		typedRow[[]attribute.KeyValue]{
			Info{
				Name: "resource attributes of the environment", Env: []string{"OTEL_RESOURCE_ATTRIBUTES"},
				Reason: "override the detectors; options override them",
			},
			attributeList(), func(c *Config) *Setting[[]attribute.KeyValue] { return &c.EnvAttributes }, nil,
		},
		typedRow[propagators]{
			Info{
				Name: "propagators", Option: "WithPropagators", Env: []string{"OTEL_PROPAGATORS"},
				Defaults: Always("tracecontext,baggage"),
				Reason:   "W3C, as in the specification; the SDK has no default",
			},
			propagatorList(), func(c *Config) *Setting[propagators] { return &c.Propagators },
			func(o *Asked) *propagators {
				if o.Propagators == nil {
					return nil
				}
				return &propagators{given: append([]propagation.TextMapPropagator{}, *o.Propagators...)}
			},
		},
		typedRow[[]string]{
			Info{
				Name: "HTTP methods", Env: []string{"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"},
				Defaults: Always("CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"),
				Reason: "the methods that spans and metrics of servers and clients name; all others are _OTHER. The " +
					"list replaces the default, which is the conventions', and is case-sensitive",
			},
			methodList(), func(c *Config) *Setting[[]string] { return &c.HTTPMethods }, nil,
		},
	}
	for i := range kubernetesCount {
		rows = append(rows, typedRow[string]{
			Info{
				Name: KubernetesVariables[i].Attribute, Env: []string{KubernetesVariables[i].env},
				Reason: "from Kubernetes' downward API",
			},
			text(), func(c *Config) *Setting[string] { return &c.Kubernetes[i] }, nil,
		})
	}
	return rows
}
