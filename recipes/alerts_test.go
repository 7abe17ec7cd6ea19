package recipes_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// prometheusNames are the metrics that a service sends about its own telemetry, as Prometheus names
// what comes over OTLP.
func prometheusNames(t *testing.T) map[string]bool {
	t.Helper()
	c := otlptest.New(t)
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithEndpoint(c.HTTPEndpoint()),
		telemetry.WithLogOutput(io.Discard), telemetry.WithoutRuntimeMetrics())
	require.NoError(t, err)
	for range 3 {
		_, span := guard.TracerProvider().Tracer("alerts").Start(t.Context(), "span")
		span.End()
	}
	require.NoError(t, guard.Shutdown(t.Context()))
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	names := map[string]bool{}
	for _, m := range c.Metrics() {
		var kind otlptranslator.MetricType = otlptranslator.MetricTypeGauge
		if m.Monotonic {
			kind = otlptranslator.MetricTypeMonotonicCounter
		}
		name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: kind})
		require.NoError(t, err)
		names[name] = true
	}
	return names
}

// requireKnown parses an expression and holds each metric in it against the names that services
// send.
func requireKnown(t *testing.T, names map[string]bool, expression string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	require.NoError(t, err, expression)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != "__name__" {
				continue
			}
			known := slices.ContainsFunc(slices.Collect(maps.Keys(names)), matcher.Matches)
			require.True(t, known, "no service sends %s; they send %v", matcher, slices.Sorted(maps.Keys(names)))
		}
		return nil
	})
}

func TestAlertsAreAboutWhatServicesSend(t *testing.T) {
	names := prometheusNames(t)
	groups, errs := rulefmt.ParseFile(filepath.Join("..", "deploy", "observability", "alerts.yaml"),
		false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	require.NotEmpty(t, groups.Groups)
	for _, rule := range groups.Groups[0].Rules {
		requireKnown(t, names, rule.Expr)
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		require.NotEmpty(t, rule.Labels["severity"], rule.Alert)
	}
}

// dashboard is the part of Grafana's model that names metrics.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Query string }
	}
}

func TestDashboardShowsWhatServicesSend(t *testing.T) {
	names := prometheusNames(t)
	data, err := os.ReadFile(filepath.Join("..", "deploy", "observability", "dashboard.json"))
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(data, &d))
	require.NotEmpty(t, d.Panels)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$service", ".*")
	for _, panel := range d.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			requireKnown(t, names, variables.Replace(target.Expr))
		}
	}
	for _, variable := range d.Templating.List {
		if values := regexp.MustCompile(`^label_values\((\w+), `).FindStringSubmatch(variable.Query); values != nil {
			requireKnown(t, names, values[1])
		}
	}
}
