// Package signal names the three kinds of telemetry.
package signal

// Signal is one of the three kinds of telemetry. Each can be off while the others run. The zero
// value is None.
type Signal uint8

// The signals. Their numbers are written on disk by internal/spool, so they stay.
const (
	None    Signal = 0
	Traces  Signal = 1
	Metrics Signal = 2
	Logs    Signal = 3

	Count = 4 // the length of an array by signal, None included
)

// All returns the three signals.
func All() []Signal { return []Signal{Traces, Metrics, Logs} }

// Named returns the signal with this name, or None.
func Named(name string) Signal {
	for _, s := range All() {
		if s.String() == name {
			return s
		}
	}
	return None
}

// String returns the name as in the path of the signal's OTLP/HTTP endpoint.
func (s Signal) String() string { return s.pick("traces", "metrics", "logs") }

// Unit is what the signal counts: one item.
func (s Signal) Unit() string { return s.pick("span", "data point", "log record") }

// Units are several items.
func (s Signal) Units() string { return s.pick("spans", "data points", "log records") }

func (s Signal) pick(traces, metrics, logs string) string {
	switch s {
	case Traces:
		return traces
	case Metrics:
		return metrics
	case Logs:
		return logs
	}
	return ""
}
