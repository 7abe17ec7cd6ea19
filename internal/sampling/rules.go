package sampling

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Rule says what to do with the traces it matches. All conditions that are set must hold. The first
// rule that matches counts.
type Rule struct {
	Route      string             // http.route equals
	PathPrefix string             // url.path starts with
	SpanName   string             // equals; a * at the end matches any rest
	Kind       trace.SpanKind     // unspecified: any
	Attribute  attribute.KeyValue // equals; with an empty value, the key must exist

	// At most one of these.
	Drop            bool
	Keep            bool
	Ratio           float64
	TracesPerSecond float64

	SlowThreshold time.Duration // 0: the sampler's; negative: off
}

func (r *Rule) validate() error {
	actions := 0
	for _, set := range []bool{r.Drop, r.Keep, r.Ratio != 0, r.TracesPerSecond != 0} {
		if set {
			actions++
		}
	}
	switch {
	case actions > 1:
		return errors.New("set at most one of Drop, Keep, Ratio and TracesPerSecond")
	case r.Ratio != 0 && !(r.Ratio >= 1.0/float64(whole) && r.Ratio <= 1):
		return fmt.Errorf("the ratio is %v; it must be 2^-56 to 1, or Drop", r.Ratio)
	case r.TracesPerSecond != 0 && !(r.TracesPerSecond > 0 && r.TracesPerSecond <= maxTarget):
		return fmt.Errorf("the traces per second are %v; they must be more than 0 and at most %v, or Drop",
			r.TracesPerSecond, float64(maxTarget))
	case r.Kind < trace.SpanKindUnspecified || r.Kind > trace.SpanKindConsumer:
		return fmt.Errorf("the span kind is %d, which does not exist", r.Kind)
	}
	return nil
}

// rule is a compiled Rule.
type rule struct {
	Rule
	namePrefix string      // of SpanName with a *
	fixed      *point      // Keep and Ratio
	limit      *controller // TracesPerSecond, separate from the common target
}

// rules are the service's rules. probeRule comes after them.
type rules struct {
	list         []rule
	anySlow      bool
	anyAttribute bool
}

func compileRules(list []Rule, now func() time.Duration) (rules, error) {
	var rs rules
	var errs []error
	for i, r := range list {
		if err := r.validate(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
			continue
		}
		compiled := rule{Rule: r}
		if prefix, ok := strings.CutSuffix(r.SpanName, "*"); ok {
			compiled.SpanName, compiled.namePrefix = "", prefix
		}
		switch {
		case r.Keep:
			compiled.fixed = gridPoint(0)
		case r.Ratio != 0:
			compiled.fixed = newPoint(thresholdFor(r.Ratio, standardDigits))
		case r.TracesPerSecond != 0:
			compiled.limit = newController(r.TracesPerSecond, headBurst, 0, 0, now)
		}
		rs.anySlow = rs.anySlow || r.SlowThreshold != 0
		rs.anyAttribute = rs.anyAttribute || r.Attribute.Key != ""
		rs.list = append(rs.list, compiled)
	}
	return rs, errors.Join(errs...)
}

// match returns the first rule that matches, or nil.
func (rs *rules) match(req *request) *rule {
	for i := range rs.list {
		if r := &rs.list[i]; r.matches(req) {
			return r
		}
	}
	if isProbe(req) {
		return &probeRule
	}
	return nil
}

func (r *rule) matches(req *request) bool {
	return (r.Kind == trace.SpanKindUnspecified || r.Kind == req.kind) &&
		(r.Route == "" || r.Route == req.route) &&
		(r.PathPrefix == "" || strings.HasPrefix(req.path, r.PathPrefix) && req.path != "") &&
		(r.SpanName == "" || r.SpanName == req.name) &&
		(r.namePrefix == "" || strings.HasPrefix(req.name, r.namePrefix)) &&
		(r.Attribute.Key == "" || hasAttribute(req.attributes, r.Attribute))
}

func hasAttribute(attributes []attribute.KeyValue, want attribute.KeyValue) bool {
	for _, kv := range attributes {
		if kv.Key == want.Key {
			return want.Value.Type() == attribute.EMPTY || kv.Value == want.Value
		}
	}
	return false
}

// probeRule drops the probes of orchestrators and monitoring, unless a rule of the service matches
// them. They are most of the spans of a quiet service and say nothing.
var probeRule = rule{Rule: Rule{Drop: true}}

const (
	healthService     = "grpc.health.v1.Health"
	healthServicePath = "/" + healthService + "/"
)

// isProbePath reports whether Kubernetes, load balancers or scrapers request this path by
// convention.
func isProbePath(path string) bool {
	switch path {
	case "/health", "/healthz", "/livez", "/live", "/readyz", "/ready", "/metrics", "/ping", "/favicon.ico":
		return true
	}
	return false
}

func isProbe(req *request) bool {
	if req.kind != trace.SpanKindServer {
		return false
	}
	if path := req.path; path != "" {
		return isProbePath(path) || strings.HasPrefix(path, healthServicePath)
	}
	if route := req.route; route != "" {
		return isProbePath(route)
	}
	return strings.HasPrefix(strings.TrimPrefix(req.name, "/"), healthService+"/")
}
