package mask_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/mask"
)

func TestText(t *testing.T) {
	m := mask.New([]string{"hunter2", "hunter2hunter3", `pass"word`, "abc"})
	for text, want := range map[string]string{
		"nothing to hide":                          "nothing to hide",
		"https://hunter2@x@host overlaps":          "https://<redacted>@host overlaps",
		"hunter2hunter2hunter3 overlaps":           "<redacted> overlaps",
		"key hunter2hunter3, key hunter2":          "key <redacted>, key <redacted>",
		`got "pass\"word"`:                         `got "<redacted>"`,
		"a short word stays: abc":                  "a short word stays: abc",
		"Post https://u:p@host:4318/v1: refused":   "Post https://<redacted>@host:4318/v1: refused",
		"https://u:p/q#x@host and http://a@b":      "https://<redacted>@host and http://<redacted>@b",
		"https://host/v1?token=abc#x: refused":     "https://host/v1?<redacted> refused",
		"http://localhost:4318/v1/traces: refused": "http://localhost:4318/v1/traces: refused",
		"mail someone@example.com?":                "mail someone@example.com?",
	} {
		require.Equal(t, want, m.Text(text))
	}
	require.Equal(t, "hunter2 and https://<redacted>@host", mask.Mask{}.Text("hunter2 and https://u:p@host"))
}

// What a server makes of a value that it was sent.
func TestFormsOfASecret(t *testing.T) {
	const credentials = `S3cr%t"k/y+42é` // has to be encoded in every form
	basic := base64.StdEncoding.EncodeToString([]byte("mary:pw42"))
	tests := []struct {
		name, value, said, want string
	}{
		{"four characters", "ab12", "no ab12 here", "no <redacted> here"},
		{"four characters in a word", "ab12", "cab12 ab123 ab12_", "cab12 ab123 <redacted>_"},
		{"five characters", "ab123", "(ab123)", "(<redacted>)"},
		{"three characters", "ab1", "no ab1", "no ab1"},
		{"seven characters in a word", "abcdef7", "xabcdef7 abcdef7", "xabcdef7 <redacted>"},
		{"eight characters in a word", "abcdefg8", "xabcdefg8y", "x<redacted>y"},
		{"four after a scheme", "Bearer ab12", "no ab12 of Bearer", "no <redacted> of Bearer"},
		{"four after a scheme, malformed", "Authorization: Bearer ab12", "no ab12", "no <redacted>"},
		{"user and password of Basic", "Basic " + basic, "no mary with pw42 (mary:pw42)",
			"no <redacted> with <redacted> (<redacted>)"},
		{"Basic without padding", "basic " + strings.TrimRight(basic, "="), "no pw42", "no <redacted>"},
		{"the encoded form of Basic", "Basic " + basic, "no " + basic, "no <redacted>"},
		{"a space, as a form has it", "k y1+z", "no token=k+y1%2Bz", "no token=<redacted>"},
		{"a prefix of eight", "0123456789abcdef", "key 01234567…", "key <redacted>…"},
		{"a prefix of seven", "0123456789abcdef", "key 0123456…", "key 0123456…"},
		{"a prefix of a token", "Bearer 0123456789abcdef", "bad 0123456789ab", "bad <redacted>"},
		{"a scheme and a letter are no prefix", "Bearer eyJhbGciOi", "Bearer error", "Bearer error"},
		{"upper case", credentials, "no " + strings.ToUpper(credentials), "no <redacted>"},
		{"lower case", credentials, "no " + strings.ToLower(credentials), "no <redacted>"},
		{"in a query", credentials, "no " + url.QueryEscape(credentials), "no <redacted>"},
		{"in a path", credentials, "no " + url.PathEscape(credentials), "no <redacted>"},
		{"percent-encoded in small letters", credentials, "no " + strings.ToLower(url.QueryEscape(credentials)),
			"no <redacted>"},
		{"every byte percent-encoded", "ab12", "no %61%62%31%32.", "no <redacted>."},
		{"percent-encoded twice", credentials, "no " + url.QueryEscape(url.QueryEscape(credentials)), "no <redacted>"},
		{"JSON", credentials, "no " + asJSON(credentials), `no "<redacted>"`},
		{"every character escaped", "ab12", `no \u0061\u0062\u0031\u0032.`, "no <redacted>."},
		{"quoted", credentials, "no " + strconv.Quote(credentials), `no "<redacted>"`},
		{"quoted as ASCII", credentials, "no " + strconv.QuoteToASCII(credentials), `no "<redacted>"`},
		{"quoted twice", credentials, "no " + strconv.Quote(strconv.Quote(credentials)), `no "\"<redacted>\""`},
		{"percent-encoded and quoted", credentials, "no " + strconv.Quote(url.QueryEscape(credentials)),
			`no "<redacted>"`},
		{"surrogates", "key \U0001F511 of gold", `no key \ud83d\udd11 of gold`, "no <redacted>"},
		{"octal", "k\x01yk\x02y", `no k\001yk\002y`, "no <redacted>"},
		{"a word of six", "scope secret-part", "no secret-part", "no <redacted>"},
		{"a word of five", "scope parts", "no parts", "no parts"},
		{"harmless", "true", "it is true", "it is true"},
		{"harmless in capitals", "GZIP", "want gzip", "want gzip"},
		{"harmless user of Basic", "Basic " + base64.StdEncoding.EncodeToString([]byte("admin:pw42")), "admin pw42",
			"admin <redacted>"},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, mask.New([]string{tt.value}).Said(tt.said), tt.name)
	}
}

func asJSON(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// What the library shows anyway is no secret, nor is the beginning of one that it shows.
func TestPublicTextStays(t *testing.T) {
	m := mask.New([]string{"checkout-service-prod-7f3a", "checkout", "collector.example"}, "checkout-service",
		"https://collector.example:4318")
	require.Equal(t, "checkout-service at collector.example, <redacted>",
		m.Text("checkout-service at collector.example, checkout-service-prod-7f3a"))
}

func TestSaidIsOneBoundedPrintableLine(t *testing.T) {
	m := mask.New([]string{"0123456789abcdef"})
	require.Equal(t, `a b\x1b[31m \u202ered\x00 \xff`, m.Said("\r\n a\tb\x1b[31m\u00a0\u202ered\x00\n\xff"))
	require.Equal(t, strings.Repeat("x", 300), m.Said(strings.Repeat("x", 300)))
	require.Equal(t, strings.Repeat("x", 300)+"…", m.Said(strings.Repeat("x", 301)))
	require.Equal(t, strings.Repeat("ä", 150)+"…", m.Said(strings.Repeat("ä", 151)))
	require.Equal(t, "x"+strings.Repeat("ä", 149)+"…", m.Said("x"+strings.Repeat("ä", 151)), "no character in halves")

	// Where the bound cuts a secret, no part of it is left.
	for cut := range 20 {
		said := m.Said(strings.Repeat(" ", 16<<10-cut) + "0123456789abcdef and more")
		for n := 1; n <= len("0123456789abcdef"); n++ {
			require.NotContains(t, said, "0123456789abcdef"[:n], "cut after %d", cut)
		}
		said = m.Said(strings.Repeat("y", 300-cut) + "0123456789abcdef")
		require.NotContains(t, said, "0", "cut after %d", cut)
	}
}

func TestErrors(t *testing.T) {
	m := mask.New([]string{"hunter2"})
	plain := errors.New("plain")
	require.Equal(t, plain, m.Error(plain))
	require.Equal(t, plain, m.SaidError(plain))
	require.NoError(t, m.SaidError(nil))
	require.NoError(t, m.Error(nil))

	cause := &net.DNSError{Err: "no such host hunter2 " + strings.Repeat("x", 1<<20), Name: "host"}
	err := m.SaidError(fmt.Errorf("dial: %w", cause))
	require.LessOrEqual(t, len(err.Error()), 600+len("…"))
	require.Contains(t, err.Error(), "no such host <redacted>")
	require.ErrorIs(t, err, cause)
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
	require.NoError(t, errors.Unwrap(err), "the texts below are a server's")
	require.ErrorIs(t, m.Error(cause), cause)
}

// Whatever a server makes of a secret in the usual forms, nothing of it is shown.
func FuzzNoFormShowsASecret(f *testing.F) {
	f.Add("Bearer abcdef", "refused: ")
	f.Add(`quo"te\d`, "%")
	f.Add("://\t@?#%zz", "https://host/")
	f.Add("ééééé\x80\xff", `\`)
	f.Fuzz(func(t *testing.T, secret, around string) {
		secret = strings.TrimSpace("s3cr3t" + secret)
		around = strings.ReplaceAll(strings.ToLower(around), "s3cr3t", "")
		if strings.ContainsAny(around, `%\`) {
			around = "" // may make something else of the form
		}
		m := mask.New([]string{secret})
		forms := []string{secret, strconv.Quote(secret), url.QueryEscape(secret), url.PathEscape(secret),
			strings.ToUpper(secret)}
		for _, form := range forms {
			for _, text := range []string{m.Text(around + " " + form), m.Said(form + " " + around)} {
				require.NotContains(t, strings.ToLower(text), "s3cr3t")
			}
		}
	})
}

// errorThatPanics does so when it is asked for its text.
type errorThatPanics struct{ value any }

func (e errorThatPanics) Error() string { panic(e.value) }

func TestTextOfErrorsThatPanic(t *testing.T) {
	debug.SetMaxStack(32 << 20)
	var itself any
	holder := map[string]any{"k": &itself}
	itself = []any{holder}
	holder["k"] = itself
	for _, value := range []any{"boom", holder} {
		require.Contains(t, mask.TextOf(errorThatPanics{value}),
			"an error of type mask_test.errorThatPanics, whose Error panics: ")
	}
}

func TestLongTextsAreCut(t *testing.T) {
	const most = 64 << 10
	m := mask.New([]string{"abcd1234efgh"})
	require.Len(t, m.Text(strings.Repeat("x", most)), most)
	for size := most - 20; size < most+20; size++ {
		text := m.Text(strings.Repeat("x", size) + " abcd1234efgh " + strings.Repeat("y", 1<<20))
		require.LessOrEqual(t, len(text), most+len(mask.Hidden)+len("…"))
		require.NotContains(t, text, "abcd1234", size)
	}
	require.LessOrEqual(t, len(m.Error(errors.New(strings.Repeat("x", 1<<20))).Error()), most+len("…"))
}
