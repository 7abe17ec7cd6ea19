package diagnose_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

func TestBriefHasNoAdvice(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind diagnose.Kind
		text string
		want string
	}{
		{"an address", diagnose.Refused, "nothing listens at [::1]:4318: start the collector",
			"nothing listens at [::1]:4318"},
		{"a URL", diagnose.PlainPort, "c:4318 does not speak TLS, but the endpoint is https://: use the port that does",
			"c:4318 does not speak TLS, but the endpoint is https://"},
		{"a server's words", diagnose.Unauthorized,
			"http://c/v1/* refuses the credentials (403 no: not you): correct them",
			"http://c/v1/* refuses the credentials (403 no: not you)"},
		{"words that open a bracket", diagnose.Unauthorized, "c refuses the credentials (403 (no: x): correct them",
			"c refuses the credentials (403 (no: x): correct them"},
		{"no advice", diagnose.Unknown, "requests to http://c/v1/* fail: boom", "requests to http://c/v1/* fail: boom"},
		{"busy", diagnose.Busy, "c answers 503: later", "c answers 503: later"},
	} {
		require.Equal(t, tt.want, diagnose.Finding{Kind: tt.kind, Text: tt.text}.Brief(), tt.name)
	}
}
