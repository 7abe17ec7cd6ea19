package redact_test

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/redact"
)

func defaults(tb testing.TB) *redact.Redactor {
	tb.Helper()
	return redact.New(redact.Config{})
}

// sample is one line of a corpus: a text, or the value of an attribute if it has a key.
type sample struct{ line, key, text string }

// corpus reads a file of testdata; "« »" enclose what has to be masked, "@key " makes the line an
// attribute.
func corpus(tb testing.TB, file string) (samples []sample) {
	tb.Helper()
	data, err := os.ReadFile("testdata/" + file)
	require.NoError(tb, err)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s := sample{line: line, text: strings.ReplaceAll(line, "␤", "\n")}
		if key, text, found := strings.Cut(s.text, " "); found && len(key) > 1 && key[0] == '@' {
			s.key, s.text = key[1:], text
		}
		samples = append(samples, s)
	}
	return samples
}

// redacted is what becomes of a sample as the value of an attribute, and as a text of its own if it
// has no key.
func (s sample) redacted(r *redact.Redactor, text string) (string, int) {
	if s.key == "" {
		return r.Text(text)
	}
	masked, hits := r.Attributes([]attribute.KeyValue{attribute.String(s.key, text)})
	return masked[0].Value.AsString(), hits
}

// jsonKey is what stands before a value of JSON that is no string, whose marker brings its own
// quotes.
var jsonKey = regexp.MustCompile(`(\\*["'])\s*:\s*$`)

func TestEveryTruePositiveIsMasked(t *testing.T) {
	r := defaults(t)
	samples := corpus(t, "true_positives.txt")
	require.GreaterOrEqual(t, len(samples), 150)
	for _, s := range samples {
		parts := strings.Split(s.text, "«")
		require.Greater(t, len(parts), 1, s.line)
		want, input := parts[0], strings.NewReplacer("«", "", "»", "").Replace(s.text)
		for _, part := range parts[1:] {
			secret, rest, closed := strings.Cut(part, "»")
			require.True(t, closed, s.line)
			marker := redact.Marker
			if key := jsonKey.FindStringSubmatch(want); key != nil {
				marker = key[1] + marker + key[1]
			}
			require.NotEmpty(t, secret)
			want += marker + rest
		}
		got, hits := s.redacted(r, input)
		if got != want || hits != len(parts)-1 {
			t.Errorf("%s\n got %s (%d)\nwant %s (%d)", s.line, got, hits, want, len(parts)-1)
		}
	}
}

func TestNoFalsePositiveIsTouched(t *testing.T) {
	r := defaults(t)
	samples := corpus(t, "false_positives.txt")
	require.GreaterOrEqual(t, len(samples), 300)
	for _, s := range samples {
		got, hits := s.redacted(r, s.text)
		if got != s.text || hits != 0 {
			t.Errorf("%s\n got %s (%d)", s.line, got, hits)
		}
		if s.key != "" {
			continue
		}
		for _, frame := range []string{"(%)", "x % y", "%\n", "\t%"} {
			text := strings.Replace(frame, "%", s.text, 1)
			if got, hits := r.Text(text); hits != 0 {
				t.Errorf("%s\n got %s (%d)", text, got, hits)
			}
		}
	}
}

// Check digits alone would let one number in ten pass; issuers and lengths do the rest.
func TestShareOfRandomNumbersThatLookLikeCards(t *testing.T) {
	r := defaults(t)
	random := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	for _, length := range []int{10, 12, 13, 14, 15, 16, 18, 19, 20} {
		masked := 0
		for range n {
			text := strconv.Itoa(1 + random.IntN(9))
			for len(text) < length {
				text += strconv.Itoa(random.IntN(10))
			}
			if _, hits := r.Text(text); hits > 0 {
				masked++
			}
		}
		share := float64(masked) / n
		t.Logf("of random numbers of %d digits %.2f %% are masked", length, 100*share)
		require.Less(t, share, 0.042)
		if length < 12 || length > 19 {
			require.Zero(t, masked)
		}
	}
}
