package lines

import (
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
)

// Argument is the origin of an endpoint that cmd/telemetry was given as its argument.
const Argument = "the argument"

// predicate matches a cause that continues the sentence that the setting's name begins.
var predicate = regexp.MustCompile(`^(must|is|has|holds|cannot|does|needs) `)

// Problem says what is wrong with a setting. origin is the option or the variable that set it,
// value is "" if it must not be shown, and outcome says what happens instead.
func Problem(origin, value, cause, outcome string) Line {
	text := origin
	switch {
	case value == "":
	case origin == Argument:
		text += " " + value
	case !IsOption(origin):
		text += "=" + value
	case strings.HasSuffix(origin, ")"):
		text += ": " + value
	default:
		text += "(" + value + ")"
	}
	if !predicate.MatchString(cause) {
		text += ":"
	}
	text += " " + cause
	if outcome != "" {
		text += "; " + outcome
	}
	return Line{level: slog.LevelWarn, text: text}
}

// IsOption reports whether origin names an option, not a variable or a default.
func IsOption(origin string) bool {
	return strings.HasPrefix(origin, "With") || strings.HasPrefix(origin, "For")
}

// UnsupportedVariable is about a variable of the specification that has no effect here.
func UnsupportedVariable(name, instead string) Line {
	return warn("%s is not supported here: %s", name, instead)
}

// UnknownVariable is about a variable that is not in the table; meant may be "".
func UnknownVariable(name, meant string) Line {
	if meant == "" {
		return warn("%s is not a known variable and is ignored", name)
	}
	return warn("%s is not a known variable and is ignored; did you mean %s?", name, meant)
}

// UnusedSamplerArg is about OTEL_TRACES_SAMPLER_ARG without a sampler that has an argument. sampler
// is the setting that chose the sampler, "" for the default.
func UnusedSamplerArg(variable, sampler string) Line {
	instead := "set OTEL_TRACES_SAMPLER=parentbased_traceidratio or adaptive too, or unset it"
	if sampler != "" {
		instead = "the sampler is set by " + sampler
	}
	return warn("%s applies only to the samplers adaptive, traceidratio and parentbased_traceidratio: %s", variable,
		instead)
}

// UnusedSampling is about a variable of the adaptive sampler if another sampler is set.
func UnusedSampling(variable, sampler string) Line {
	return warn("%s applies only to the adaptive sampler: the sampler is set by %s", variable, sampler)
}

// Overrides says which source wins if several differ. Nothing is wrong with that.
func Overrides(winner, losers string, optionOverVariable bool) Line {
	if optionOverVariable {
		return info("%s overrides %s; remove the option to let the environment decide", winner, losers)
	}
	return info("%s overrides %s", winner, losers)
}

// CredentialsOfEarlierEndpoint is about an option that is dropped because a later WithEndpoint
// changed the endpoint.
func CredentialsOfEarlierEndpoint(option string) Line {
	return warn("%s is ignored because a later WithEndpoint changes the endpoint: pass it after that WithEndpoint",
		option)
}

// PlainToken is about a token that is sent without TLS.
func PlainToken(endpoint string, s signal.Signal) Line {
	return warn("%s uses http://, so anyone on the network can read the token for %s: use https://", endpoint, s)
}

// AssumedScheme is about an endpoint without a scheme.
func AssumedScheme(origin, scheme, endpoint string) Line {
	return warn("%s has no scheme: %s is assumed; write %s://%s to be explicit", origin, scheme, scheme, endpoint)
}

// UnusedTLS is about TLS settings for an http:// endpoint.
func UnusedTLS(origin string) Line {
	return warn("%s uses http://, so the TLS settings are ignored", origin)
}

// UnusedPath is about the path of an endpoint over gRPC.
func UnusedPath(origin string) Line {
	return warn("%s has a path, which is ignored over gRPC", origin)
}

// PathOfAnotherSignal is about an endpoint of one signal that has the path of another.
func PathOfAnotherSignal(origin string, other, s signal.Signal) Line {
	return warn("%s ends in /v1/%s, but is the endpoint of %s: did you mean /v1/%s?", origin, other, s, s)
}

// PathInBaseURL is about the base URL of all signals that ends in the path of one; instead sets the
// endpoint of that one.
func PathInBaseURL(origin string, of signal.Signal, instead string) Line {
	return warn("%s ends in /v1/%s, but is the base URL of all signals, so the others go to /v1/%s/v1/…: remove "+
		"/v1/%s, or %s instead if it is for %s only", origin, of, of, of, instead, of)
}

// NoServiceName says what is used instead of service.name.
func NoServiceName(binary string) Line {
	return warn("service.name is not set; using the binary's name %q. Set OTEL_SERVICE_NAME or use WithServiceName",
		binary)
}

// DetectorFailed is about a resource detector.
func DetectorFailed(name string, err error) Line {
	return warn("resource detector %s: %v; the other attributes are used", name, err)
}

// Started says what is on, where it goes, and why.
func Started(attrs ...slog.Attr) Line { return info("started").with(attrs...) }

// EarlyLogger is about a logger that was made from slog's default before Init.
func EarlyLogger(place string) Line {
	return warn("the logger used at %s was created from slog.Default() before Init: its records have no trace IDs, "+
		"and their attributes are parsed from text; create it after Init, or use guard.Logger()", place)
}

// LogPackageBlocked is about a call of the log package that blocks while Init sets slog's default.
func LogPackageBlocked(blocked time.Duration) Line {
	return warn("a call of the log package has been blocked for %s: slog's default and the log package are set up "+
		"when it returns", blocked)
}
