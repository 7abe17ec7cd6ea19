//go:build !unix

package otlptest

// BlackHole is not available where a test cannot shorten a listener's queue.
func BlackHole(TB, string) (address string, ok bool) { return "", false }
