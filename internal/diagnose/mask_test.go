package diagnose_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

func TestMask(t *testing.T) {
	mask := diagnose.NewMask([]string{"hunter2", "hunter2hunter3", `pass"word`, "short"})
	for text, want := range map[string]string{
		"nothing to hide":                          "nothing to hide",
		"https://hunter2@x@host overlaps":          "https://<redacted>@host overlaps",
		"hunter2hunter2hunter3 overlaps":           "<redacted><redacted> overlaps",
		"key hunter2hunter3, key hunter2":          "key <redacted>, key <redacted>",
		`got "pass\"word"`:                         `got "<redacted>"`,
		"a short word stays":                       "a short word stays",
		"Post https://u:p@host:4318/v1: refused":   "Post https://<redacted>@host:4318/v1: refused",
		"https://u:p/q#x@host and http://a@b":      "https://<redacted>@host and http://<redacted>@b",
		"https://host/v1?token=abc#x: refused":     "https://host/v1?<redacted> refused",
		"http://localhost:4318/v1/traces: refused": "http://localhost:4318/v1/traces: refused",
		"mail someone@example.com?":                "mail someone@example.com?",
	} {
		require.Equal(t, want, mask.Text(text))
	}
	plain := errors.New("plain")
	require.Equal(t, plain, mask.Error(plain))
}

// Whatever a foreign error makes of a header value or a URL, no line shows it.
func FuzzNoLineShowsASecret(f *testing.F) {
	f.Add("Bearer abcdef", "refused: ")
	f.Add(`quo"te\d`, "")
	f.Add("sp  ace  d", "x")
	f.Add("://\t@?#%zz", "https://host/")
	f.Add("ééééé\x80\xff", "\n")
	f.Add(strings.Repeat("long", 300), strings.Repeat("prefix ", 80))
	f.Fuzz(func(t *testing.T, secret, around string) {
		secret = "s3cr3t" + secret
		around = strings.ReplaceAll(around, "s3cr3t", "")
		out := &lines{}
		log := diagnose.New(out.write, slog.LevelDebug, diagnose.NewMask(append([]string{secret}, strings.Fields(secret)...)))
		log.Handle(errors.New(around + secret))
		log.Handle(fmt.Errorf("%s %q", around, secret))
		log.Handle(fmt.Errorf("%s %s", around, strconv.Quote(secret)))
		log.Lost("", 2, "spans", errors.New(secret+around))
		log.SayAs(secret, slog.LevelInfo, secret+around)
		log.SayAs(secret, slog.LevelInfo, secret+around)
		log.Handle(&url.Error{Op: "Post", URL: (&url.URL{Scheme: "https", Host: "host", User: url.UserPassword("s3cr3t", "s3cr3t")}).String(), Err: errors.New("EOF")})
		log.Close()
		for _, line := range out.messages() {
			require.NotContains(t, line, "s3cr3t")
		}
	})
}
