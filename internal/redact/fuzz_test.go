package redact_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/redact"
)

// FuzzText holds for every text: no panic, a second look finds nothing, the length is bounded,
// valid text stays valid, and what is not masked stays in its order.
func FuzzText(f *testing.F) {
	for _, file := range []string{"true_positives.txt", "false_positives.txt"} {
		for _, s := range corpus(f, file) {
			f.Add(strings.NewReplacer("«", "", "»", "").Replace(s.text))
		}
	}
	f.Add("\xff\xfe4111111111111111\x80=password=\"\\")
	r := defaults(f)
	f.Fuzz(func(t *testing.T, text string) {
		masked, hits := r.Text(text)
		r.Find(text) // Text contains a panic
		again, more := r.Text(masked)
		require.Equal(t, masked, again, "of %q", text)
		require.Zero(t, more)
		require.Equal(t, hits == 0, masked == text, "%q", text)
		require.LessOrEqual(t, len(masked), len(text)+hits*(len(redact.Marker)+len(`\\\"\\\"`)))
		require.Equal(t, utf8.ValidString(text), utf8.ValidString(masked) && utf8.ValidString(text))
		rest := text
		for part := range strings.SplitSeq(masked, redact.Marker) {
			part = strings.Trim(part, `"'\`) // a marker may bring its quotes
			_, after, found := strings.Cut(rest, part)
			require.True(t, found, "%q has %q, which %q has not", masked, part, text)
			rest = after
		}
	})
}

// FuzzCard puts a card's number into any surroundings that do not make it a part of something
// longer.
func FuzzCard(f *testing.F) {
	f.Add("card ", " declined", uint8(0), uint64(1))
	f.Add("password=\"", "\"", uint8(1), uint64(2))
	f.Add("{\"n\":", ",\"m\":1}", uint8(2), uint64(3))
	f.Add("Authorization: ", "\n", uint8(0), uint64(4))
	r := defaults(f)
	f.Fuzz(func(t *testing.T, before, after string, form uint8, seed uint64) {
		card := randomCard(rand.New(rand.NewPCG(seed, 0)))
		switch form % 3 {
		case 0:
			before += " with" // the last word of before may name an identifier
		case 1:
			card = fmt.Sprintf("%s %s %s %s", card[:4], card[4:8], card[8:12], card[12:])
		case 2:
			card = fmt.Sprintf("%s-%s-%s-%s", card[:4], card[4:8], card[8:12], card[12:])
		}
		masked, hits := r.Text(before + " " + card + " " + after)
		if strings.Contains(before+after, card) || before != "" && '0' <= before[len(before)-1] &&
			before[len(before)-1] <= '9' {
			return
		}
		require.NotContains(t, masked, card)
		require.Positive(t, hits)
		attrs, _ := r.Attributes([]attribute.KeyValue{attribute.StringSlice("any", []string{before, card, after})})
		require.NotContains(t, attrs[0].Value.AsStringSlice(), card)
	})
}

func randomCard(random *rand.Rand) string {
	digits := []byte("4000000000000000")
	for i := 1; i < 15; i++ {
		digits[i] = byte('0' + random.IntN(10))
	}
	sum := 0
	for i, c := range digits[:15] {
		n := int(c - '0')
		if i%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	digits[15] = byte('0' + (10-sum%10)%10)
	return string(digits)
}

// FuzzKey: a key never panics, and what stands before its last words does not matter.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"password", "token_count", "APIKey", "a.b-c_d", "\xff", "card[number]",
		strings.Repeat("a1", 100)} {
		f.Add(key)
	}
	r := defaults(f)
	masks := func(key string) bool {
		_, hits := r.Attributes([]attribute.KeyValue{attribute.String(key, "x")})
		a := r.SlogJSON(nil, slog.String(key, "x"))
		return hits > 0 && a.Value.String() == redact.Marker
	}
	f.Fuzz(func(t *testing.T, key string) {
		if masks(key) {
			require.True(t, masks(strings.ToLower(key)+"_password"))
			require.False(t, masks(key+"_count"))
		}
		require.True(t, masks(key+".card_number"))
		require.False(t, masks(key+".kind"))
	})
}

// TestTimeIsLinear grows texts that make a scanner with backtracking quadratic.
func TestTimeIsLinear(t *testing.T) {
	r := redact.New(redact.Config{AllowKeys: []string{"order.id"}})
	const size = 1 << 20
	texts := map[string]string{"password=)…": "password=" + strings.Repeat(")", size),
		"token%3D}…": "token%3D" + strings.Repeat("}", size)}
	for _, unit := range []string{
		"4", "4111 ", "4111-1111-1111-111", "=", "a=", "password=", `password="`, `"password":"`, `"password":[`,
		`"password":{"a`, `\"password\":\"`,
		"://", "http://a:b", "x@tcp(", "a:b@tcp(", "eyJ", "eyJ.", " eyJ", "bearer ", "Bearer a", "Basic ", ":", "a:",
		"{Password:", "Cookie: ", "DE89 3704 ", "a1", "token=a.b", "order.id=", "{Password:[", "{Password:a ",
		" Password:a b", " Password:a {",
		"{Password:a]", "token%3D", "a%3Da", "%3D", `\\\"token\\\":\\\"`, `"token" : {'`,
		"cookie: ", "cookie: a", "token=Bearer ", "@(", "{} token:a,", `" `, `"  :`, `"order.id":"`,
		"ab4111111111111112", "4111111111111111", "[redacted]", "\\", "\xff", "%20", "password={",
		"4111111111111111,", "token%3Da%26", "token%3Da ", "{ %token:a", "{} a[b]token:a", "token=\\n",
	} {
		texts[unit] = strings.Repeat(unit, size/len(unit))
	}
	for _, lead := range []string{"{", "[", "['"} { // as deep as levels are followed
		texts[lead+"…token=\\n…"] = strings.Repeat(lead, 10_000) + "token=" + strings.Repeat("\\n", size/2)
	}
	mask := func(text string) (masked string) { // the key names identifiers
		attrs, _ := r.Attributes([]attribute.KeyValue{attribute.String("parcel_ids", text)})
		return attrs[0].Value.AsString()
	}
	for unit, text := range texts {
		begin := time.Now()
		mask(text[:len(text)/16])
		small := time.Since(begin)
		begin = time.Now()
		masked := mask(text)
		large := time.Since(begin)
		// Sixteen times the text may take 16 times as long; quadratic it would be 256 times, and
		// minutes for a MiB. The least time leaves room for a machine that is busy with something
		// else.
		require.Less(t, large, 100*max(small, 20*time.Millisecond), unit)
		require.Less(t, len(masked), 12*size, unit)
		t.Logf("%-22q %6.1f ms/MiB", unit, float64(large.Microseconds())/1000)
	}
}
