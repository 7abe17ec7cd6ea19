//go:build race

package middleware

const raceDetector = true
