// Package logs is what a log record passes through on its way from slog to its destinations:
//
//	slog ─→ handler ─┬→ console branch
//	                 └→ bridge ────────────────┐
//	other log bridges ─→ OpenTelemetry's SDK ──┴→ Sink ─→ the processor that queues records
//	package log ─→ stdWriter ─→ slog's handler, or the output that package log had before
//
// The console branch adds trace_id, span_id and trace_flags of the context's span at the root of
// the line: as JSON (json.go) or as text (correlation.go). The bridge makes the SDK's records
// itself, the same that otelslog would make.
//
// The values of a record are the service's own: they may be huge, contain themselves, or panic in
// their methods. So the handler walks each of them once (walk.go), within a budget, and hands on
// plain values and trees ([node]). The code after it calls no method of the service's values.
//
// A value is shown as encoding/json would show it, by its struct tags and its MarshalJSON and
// MarshalText. The methods that encoding/json does not call, which are Error below the top and
// String, are called only if the value does not contain itself.
//
// A line of JSON is that of [slog.JSONHandler], byte for byte, with these exceptions:
//
//   - An error inside another value is its text. encoding/json shows its exported fields, which
//     most errors do not have.
//   - NaN, a function, a key that is a struct, a time after the year 9999, or a method that fails
//     or panics is text or a note in its place. slog replaces the whole value by a note.
//   - An error that holds a nil pointer is what its method returns, or a note that the method
//     panics. slog writes null inside another value, and "<nil>" if the method panics.
//   - JSON that a value makes of itself keeps its escapes, but invalid UTF-8, U+2028 and U+2029 are
//     escaped or replaced.
//   - The text of a named string or a MarshalText has the escapes that slog gives to its own
//     strings, such as \u0008 where encoding/json writes \b, if it is the whole value.
//   - A value is cut where the budget of a record ends.
package logs
