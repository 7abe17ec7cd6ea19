//go:build !unix

package telemetry_test

// blackHoles is empty where a test cannot shorten a listener's queue.
func blackHoles() []deadEnd { return nil }
