//go:build !race

package sampling

const raceDetector = false
