// Package destination tells an example whether its telemetry goes to the user's own collector.
package destination

import (
	"net/url"
	"os"
	"strings"
)

// FromEnvironment returns the first environment variable that sets where telemetry goes, and its
// value without the password that a URL may contain. Both are empty if no variable does.
func FromEnvironment() (variable, value string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_%s_ENDPOINT", "OTEL_%s_EXPORTER"} {
		for _, signal := range []string{"TRACES", "METRICS", "LOGS"} {
			variable = strings.ReplaceAll(name, "%s", signal)
			if value = os.Getenv(variable); value == "" {
				continue
			}
			if u, err := url.Parse(value); err == nil {
				value = u.Redacted()
			}
			return variable, value
		}
	}
	return "", ""
}
