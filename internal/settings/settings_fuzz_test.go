package settings

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSettings gives any variable any value: each is read, or named with what was expected in its
// place, on one line, and a header value is never shown.
func FuzzSettings(f *testing.F) {
	var variables []string
	for _, row := range Rows() {
		variables = append(variables, row.Describe().Env...)
	}
	for i, variable := range variables {
		for _, value := range []string{"", "1", "-1", "grpc", "http://a:1", "a=b,c=%64", "\x00", "9223372036854775808",
			"always_on", " x "} {
			// these would be read as files
			if !strings.HasSuffix(variable, "CERTIFICATE") && !strings.HasSuffix(variable, "KEY") {
				f.Add(uint16(i), value)
			}
		}
	}
	f.Fuzz(func(t *testing.T, index uint16, value string) {
		variable := variables[int(index)%len(variables)]
		if strings.Contains(value, "/") &&
			(strings.HasSuffix(variable, "CERTIFICATE") || strings.HasSuffix(variable, "KEY")) {
			return // devices among the files never end
		}
		r := Resolve(&Asked{}, Environment{variable: value})
		var said []string
		for _, p := range r.Problems {
			require.Contains(t, p.Error(), variable, "the message names the variable")
			said = append(said, p.Error())
		}
		said = append(said, r.Warnings()...)
		for _, row := range Rows() {
			shown, _ := row.Report(r.Config)
			said = append(said, shown)
		}
		if strings.HasSuffix(variable, "_HEADERS") {
			for pair := range strings.SplitSeq(value, ",") {
				if _, secret, ok := strings.Cut(pair, "="); ok && len(secret) >= 12 {
					require.NotContains(t, strings.Join(said, "\n"), secret)
				}
			}
		}
	})
}
