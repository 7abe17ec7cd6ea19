// Package w3c has what W3C Trace Context and W3C Baggage ask for beyond what OpenTelemetry's propagators do.
package w3c
