// Package otlp is what the signals share on their way to a collector: connections, credentials, the
// spool, the probe, and what becomes of items in an outage and at Shutdown. It is the only package
// that imports OTLP exporters.
//
// [Connections] has one HTTP client or gRPC connection, with one delivery endpoint below it, for
// all signals that go to the same place in the same way (exporter.go). A [Running] is one signal in
// operation (running.go).
//
// [Outages] writes the lines about failures: when requests of a signal begin to fail, when they
// succeed again (outage.go), and what a Shutdown loses, one line for each reason (summary.go). The
// [Explainer] describes errors in the words of the probe (probe.go, explain.go). losses.go makes
// the errors of ForceFlush and Shutdown.
package otlp
