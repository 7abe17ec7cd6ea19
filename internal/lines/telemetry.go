package lines

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// FromSDK is a message of OpenTelemetry's own log.
func FromSDK(level slog.Level, text string) Line { return Line{level: level, text: trimmed(text)} }

// FromError is an error that happened in the background, in the SDK or in a service's own telemetry
// code.
func FromError(err error) Line {
	l := fail("%v", err)
	l.text = trimmed(l.text)
	return l
}

func trimmed(text string) string { return strings.TrimPrefix(text, "telemetry: ") }

// SelfMetricsIncomplete is about the otel.sdk.* metrics.
func SelfMetricsIncomplete(err error) Line { return warn("self-metrics are incomplete: %v", err) }

// BaggageLeftOut is about baggage over the limits that every receiver supports (W3C Baggage,
// "Limits").
func BaggageLeftOut(maxMembers, maxBytes, members int, left []string) Line {
	return warn("outbound baggage exceeds the limits of W3C Baggage (%d members, %d bytes): dropping %d of %d members, "+
		"starting with %.60q; put less into baggage (logged once)", maxMembers, maxBytes, len(left), members, left[0])
}

// NotTrusted is about an argument of WithTrustedHosts.
func NotTrusted(host string) Line {
	return fail("trusted host %q: expected a host name without scheme, port or path, "+
		`a domain with a leading dot (".example.com") or an address prefix ("10.0.0.0/8"); it is not trusted`, host)
}

// SwitchFailed is about a tracer, logger or instrument that cannot be recreated when Init or
// Shutdown changes the providers.
func SwitchFailed(err error) Line {
	return fail("could not switch to the new OpenTelemetry providers: %v", err)
}

// CallbacksIgnored is about an observable instrument that is created twice.
func CallbacksIgnored(instrument string) Line {
	return fail("instrument %q already has callbacks, so the new ones are ignored: "+
		"add them with Meter.RegisterCallback", instrument)
}

// CallbackFailed is about a metric callback or producer; what is such as "the metric callback of
// queue.length".
func CallbackFailed(what string, err error) Line { return fail("%s: %v", what, err) }

// OutputBlocked is the error of an output that did not write its lines in time. output is such as
// "the log output".
func OutputBlocked(output string, blocked time.Duration, waiting int64) error {
	return fmt.Errorf("%s has been blocked for %s: its goroutine was abandoned with %s", output, blocked,
		Count(waiting, "unwritten line", "unwritten lines"))
}
