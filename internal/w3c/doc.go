// Package w3c implements what W3C Trace Context and W3C Baggage require beyond OpenTelemetry's
// propagators.
package w3c
