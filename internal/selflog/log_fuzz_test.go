package selflog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/selflog"
	"github.com/fleetotel/telemetry/internal/signal"
)

// No line shows a header value or the password of a URL, however an error formats it. The values
// have at least 8 bytes: shorter ones are hidden only as a whole word (package mask).
func FuzzNoLineShowsASecret(f *testing.F) {
	const marker = "s3cr3tpw"
	f.Add("Bearer abcdef", "refused: ")
	f.Add("0", "0")
	f.Add(`quo"te\d`, "")
	f.Add("sp  ace  d", "x")
	f.Add("://\t@?#%zz", "https://host/")
	f.Add("ééééé\x80\xff", "\n")
	f.Add(strings.Repeat("long", 300), strings.Repeat("prefix ", 80))
	f.Fuzz(func(t *testing.T, secret, around string) {
		secret = marker + secret
		around = strings.ReplaceAll(around, marker, "")
		out := &output{}
		log := selflog.New(out.write, slog.LevelDebug, mask.New(append([]string{secret}, strings.Fields(secret)...)))
		log.Handle(errors.New(around + secret))
		log.Handle(fmt.Errorf("%s %q", around, secret))
		log.Handle(fmt.Errorf("%s %s", around, strconv.Quote(secret)))
		log.Say(lines.Lost(signal.Traces, 2, "", errors.New(secret+around)))
		log.Say(lines.FromSDK(slog.LevelInfo, secret+around))
		log.Say(lines.FromSDK(slog.LevelInfo, secret+around))
		log.Handle(&url.Error{Op: "Post",
			URL: (&url.URL{Scheme: "https", Host: "host", User: url.UserPassword(marker, marker)}).String(),
			Err: errors.New("EOF")})
		log.Close()
		for _, line := range out.messages() {
			require.NotContains(t, line, marker)
		}
	})
}
