package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"1":                              time.Second,
		" 120 ":                          2 * time.Minute,
		"300":                            5 * time.Minute,
		"301":                            5 * time.Minute,
		"99999999999999999999":           5 * time.Minute,
		"-1":                             0,
		"1.5":                            0,
		"+1":                             0,
		"soon":                           0,
		"Sun, 22 Nov 2026 12:00:30 GMT":  30 * time.Second,
		"Sunday, 22-Nov-26 12:00:30 GMT": 30 * time.Second,
		"Sun Nov 22 12:00:30 2026":       30 * time.Second,
		"Sun, 22 Nov 2026 11:59:59 GMT":  0,
		"Mon, 22 Nov 2027 12:00:00 GMT":  5 * time.Minute,
	} {
		require.Equal(t, want, retryAfter(value, now), "%q", value)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "99999999999999999999", "Sun, 22 Nov 2026 12:00:30 GMT",
		"Sun Nov 22 12:00:30 2026", "１"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		got := retryAfter(value, now)
		require.GreaterOrEqual(t, got, time.Duration(0))
		require.LessOrEqual(t, got, maxRetryAfter)
		require.Equal(t, got, retryAfter(" "+value+" ", now))
		if date, err := http.ParseTime(value); err == nil && date.Before(now) {
			require.Zero(t, got)
		}
	})
}

// FuzzResponse feeds the parsers of a server's answer: none may panic, and no answer makes the
// books wrong.
func FuzzResponse(f *testing.F) {
	f.Add(200, "application/x-protobuf", "\x0a\x0b\x08\x03\x12\x07too old")
	f.Add(200, "application/json", `{"partialSuccess":{"rejectedSpans":"3"}}`)
	f.Add(400, "application/x-protobuf", "\x08\x03\x12\x03bad")
	f.Add(503, "text/html; charset", "<html>")
	f.Fuzz(func(t *testing.T, status int, media, body string) {
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}, "Retry-After": {body}}}
		out := Outcome{Items: 10}
		r := responseReply(resp, []byte(body), nil, []string{"s3cr3t-value"})
		require.LessOrEqual(t, r.after, maxRetryAfter)
		out.settle(r.describe("x", 1, 0, nil))
		if !out.TooLarge {
			require.EqualValues(t, 10, out.Exported+out.Rejected+out.Failed)
			require.GreaterOrEqual(t, out.Rejected, int64(0))
			require.GreaterOrEqual(t, out.Exported, int64(0))
		}
		if out.Err != nil {
			require.NotContains(t, out.Err.Error(), "s3cr3t-value")
			require.LessOrEqual(t, len(out.Err.Error()), 2*300+200)
		}
	})
}
