// Package telemetry gets OpenTelemetry right in three lines:
//
//	func main() {
//		if err := telemetry.Run(context.Background(), serve); err != nil {
//			os.Exit(1)
//		}
//	}
//
// serve(ctx) is the service: its context ends at SIGTERM and Ctrl-C, and when it returns, telemetry is delivered. A program
// that handles signals itself calls [Init] and [Guard.Shutdown] instead of [Run]:
//
//	guard, err := telemetry.Init(ctx)
//	if err != nil { slog.Error("telemetry is degraded", "error", err) } // the service runs on
//	defer guard.Shutdown(context.Background())
//
// Traces, metrics and logs then flow over OTLP to OTEL_EXPORTER_OTLP_ENDPOINT, http://localhost:4318 by default. A
// service goes on with OpenTelemetry's own API (otel.Tracer, otel.Meter) and with log/slog. With
// TELEMETRY_PROFILE=development they are shown on the terminal instead, until an endpoint is set.
//
// # Lifecycle
//
// [Init] resolves every setting once, builds the three signals, and sets the process's globals last: OpenTelemetry's
// providers, propagator and error handler, and slog's default logger. It never waits for a collector and never fails as a
// whole: an error names what is wrong, and everything that is not concerned runs. [Guard.Shutdown] delivers what is
// still held, in at most the time it is given, and puts OpenTelemetry's globals back; slog goes on on the console. Init may
// follow again. What was made from the globals in package-level variables follows each Init.
//
// # Configuration
//
// Precedence is: valid option > signal-specific variable > general variable > default of the profile. docs/settings.md has the
// table of all settings, generated from the code.
//
// # Logs
//
// slog records go to the console, as JSON on standard error, and over OTLP. The console line has trace_id, span_id and
// trace_flags at its root, also under WithGroup. On a terminal on which [ProfileDevelopment] or an exporter named console
// shows traces and metrics too, it is a line for people, unless a format is asked for. Only the ...Context methods of
// slog know the span. What the library has to say about itself goes to the console only, at most once a minute for each
// cause.
//
// # What is kept, and what is masked
//
// By default a process keeps about 50 traces per second, and besides them those that failed or were slow: see [Sampling].
// Secrets and payment data are masked before they leave the process: see [Redaction]. What cannot be delivered is tried
// again from memory, and with [WithSpool] waits on disk; what is lost all the same is counted in [Health].
//
// # Propagation
//
// W3C trace context and baggage. [Handler], [Transport], [ServerHandler] and [ClientHandler] cover HTTP and gRPC;
// [Inject] and [Extract] with their carriers cover messages; [ExtractEnv] covers jobs.
//
// # Testing
//
// Package telemetrytest gives each of a service's tests telemetry of its own, over a collector in the test's process.
package telemetry
