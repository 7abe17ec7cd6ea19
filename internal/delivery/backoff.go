package delivery

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// firstBackoff is short, because the commonest failure is a connection that a restarted or
	// scaled collector has closed. Stock exporters start with 5 s.
	firstBackoff = 100 * time.Millisecond
	// maxBackoff is the longest time after which the return of an endpoint is noticed. One probe
	// per signal and process every 2 s does not burden a collector. Stock: 30 s.
	maxBackoff = 2 * time.Second
	// maxRetryAfter bounds what a server may ask for: a wrong clock on its side must not stop a
	// service's telemetry for a day.
	maxRetryAfter = 5 * time.Minute
)

// backoff returns how long to wait after the given number of failures in a row: doubling from 100
// ms to 2 s, less up to half of it at random, so that processes that lost a collector at the same
// time do not all return at the same time.
func backoff(failures int) time.Duration {
	d := maxBackoff
	if shift := failures - 1; shift < 5 {
		d = min(firstBackoff<<max(shift, 0), maxBackoff)
	}
	return d - rand.N(d/2+1) // jitter needs no secrecy
}

// retryAfter parses a Retry-After header (RFC 9110, section 10.2.3): seconds or an HTTP date. A
// missing, malformed or past value is zero. A value above five minutes is five minutes.
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
