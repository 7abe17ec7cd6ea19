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
	"github.com/fleetotel/telemetry/internal/mask"
)

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
		log := diagnose.New(out.write, slog.LevelDebug, mask.New(append([]string{secret}, strings.Fields(secret)...)))
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
