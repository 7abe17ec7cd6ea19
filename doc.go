// Package telemetry sets up OpenTelemetry in three lines:
//
//	func main() {
//		if err := telemetry.Run(context.Background(), serve); err != nil {
//			os.Exit(1)
//		}
//	}
//
// serve(ctx) is the service. Its context ends at SIGTERM and Ctrl-C, and when it returns, Run
// delivers the telemetry. A program that handles signals itself calls [Init] and [Guard.Shutdown]
// instead of [Run]:
//
//	guard, err := telemetry.Init(ctx)
//	if err != nil { slog.Error("telemetry is degraded", "error", err) } // the service runs on
//	defer guard.Shutdown(context.Background())
//
// Traces, metrics and logs are then sent over OTLP to OTEL_EXPORTER_OTLP_ENDPOINT,
// http://localhost:4318 by default. The service uses OpenTelemetry's own API (otel.Tracer,
// otel.Meter) and log/slog. With TELEMETRY_PROFILE=development, telemetry is shown on the terminal
// instead until an endpoint is set.
//
// # Lifecycle
//
// [Init] resolves every setting once, builds the three signals, and then sets the process's
// globals: OpenTelemetry's providers, propagator and error handler, and slog's default logger. It
// never waits for a collector. It never fails as a whole: the error names what is wrong, and
// everything else runs. [Guard.Shutdown] delivers the remaining data within its time limit and
// restores OpenTelemetry's globals; slog then writes only to the console. Init may be called again.
// Tracers and instruments in package-level variables follow each Init.
//
// # Configuration
//
// Precedence is: valid option > signal-specific variable > general variable > default of the
// profile. docs/settings.md lists all settings and is generated from the code.
//
// # Logs
//
// slog records go to the console, as JSON on standard error, and over OTLP. A console line has
// trace_id, span_id and trace_flags at the top level, even under WithGroup. The format is the
// development view on a terminal where [ProfileDevelopment] or an exporter named console also shows
// traces and metrics, unless a format is set. Only the ...Context methods of slog know the span.
// The library writes messages about itself only to the console, at most once a minute for each
// cause.
//
// # Sampling and redaction
//
// By default a process keeps about 50 traces per second, plus those that failed or were slow: see
// [Sampling]. Secrets and payment data are masked before they leave the process: see [Redaction].
// Data that cannot be delivered is retried from memory or, with [WithSpool], waits on disk. Data
// that is lost anyway is counted in [Health].
//
// # Propagation
//
// The formats are W3C trace context and baggage. [Handler], [Transport], [ServerHandler] and
// [ClientHandler] cover HTTP and gRPC; [Inject] and [Extract] with their carriers cover messages;
// [ExtractEnv] covers jobs.
//
// # Testing
//
// Package telemetrytest gives each test its own telemetry and a collector in the test's process.
package telemetry
