package delivery

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// firstBackoff is short, because the commonest failure is a connection that
	// a restarted or scaled collector has closed. Stock exporters start with 5 s.
	firstBackoff = 100 * time.Millisecond
	// maxBackoff is how late the return of an endpoint may be noticed. One probe
	// per signal and process in 2 s is no burden on a collector. Stock: 30 s.
	maxBackoff = 2 * time.Second
	// maxRetryAfter bounds what a server may ask for: a wrong clock on its side
	// must not silence a service for a day.
	maxRetryAfter = 5 * time.Minute
)

// backoff returns how long to wait after the given number of failures in a row:
// doubling from 100 ms to 2 s, less up to half of it at random, so that a fleet
// that lost its collector together does not come back together.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if shift := failures - 1; shift < 5 {
		d = min(firstBackoff<<max(shift, 0), maxBackoff)
	}
	return d - rand.N(d/2+1) // jitter needs no secrecy
}

// retryAfter parses a Retry-After header (RFC 9110, section 10.2.3): seconds or
// an HTTP date. Absent, malformed and past values are zero; longer ones than
// five minutes are five minutes.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}
