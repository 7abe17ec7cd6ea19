package redact_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fleetotel/telemetry/internal/redact"
)

const (
	card   = "4111111111111111"
	masked = redact.Marker
)

func TestValuesOfEveryType(t *testing.T) {
	r := defaults(t)
	tests := []struct{ in, want attribute.KeyValue }{
		{attribute.String("a", card), attribute.String("a", masked)},
		{attribute.Int64("a", 4111111111111111), attribute.String("a", masked)},
		{attribute.Int64("a", 4111111111111112), attribute.Int64("a", 4111111111111112)},
		{attribute.Int64("a", 378282246310005), attribute.String("a", masked)},
		{attribute.Int64("a", 6205500000000000004), attribute.Int64("a", 6205500000000000004)},
		{attribute.Int64("a", -4111111111111111), attribute.Int64("a", -4111111111111111)},
		{attribute.Float64("a", 4111111111111111), attribute.String("a", masked)},
		{attribute.Float64("a", 4111111111111112), attribute.Float64("a", 4111111111111112)},
		{attribute.Float64("a", 378282246310005.5), attribute.Float64("a", 378282246310005.5)},
		{attribute.Float64("a", math.Inf(1)), attribute.Float64("a", math.Inf(1))},
		{attribute.Float64("a", 1e300), attribute.Float64("a", 1e300)},
		{attribute.Float64Slice("a", []float64{1, 4111111111111111}), attribute.String("a", masked)},
		{attribute.Float64Slice("a", []float64{1}), attribute.Float64Slice("a", []float64{1})},
		{attribute.Bool("password", true), attribute.Bool("password", true)},
		{attribute.String("password", ""), attribute.String("password", "")},
		{attribute.String("password", masked), attribute.String("password", masked)},
		{attribute.Int64("cvv", 0), attribute.String("cvv", masked)},
		{attribute.Float64("pin", 1234), attribute.String("pin", masked)},
		{attribute.BoolSlice("cookie", []bool{true}), attribute.BoolSlice("cookie", []bool{true})},
		{attribute.StringSlice("cookie", []string{"a", "", "b"}),
			attribute.StringSlice("cookie", []string{masked, "", masked})},
		{attribute.Int64Slice("pin", []int64{1}), attribute.String("pin", masked)},
		{attribute.Int64Slice("a", []int64{1, 4111111111111111}), attribute.String("a", masked)},
		{attribute.Int64Slice("a", []int64{1}), attribute.Int64Slice("a", []int64{1})},
		{attribute.StringSlice("a", []string{"x", card}), attribute.StringSlice("a", []string{"x", masked})},
		{attribute.ByteSlice("a", []byte("n "+card)), attribute.ByteSlice("a", []byte("n "+masked))},
		{attribute.ByteSlice("secret", []byte{1}), attribute.String("secret", masked)},
		{attribute.Slice("a", attribute.StringValue(card), attribute.IntValue(1)),
			attribute.Slice("a", attribute.StringValue(masked), attribute.IntValue(1))},
		{attribute.Map("credentials", attribute.Int("n", 1)), attribute.String("credentials", masked)},
		{attribute.Map("a", attribute.String("pwd", "x"), attribute.Map("b", attribute.String("c", card))),
			attribute.Map("a", attribute.String("pwd", masked), attribute.Map("b", attribute.String("c", masked)))},
		{attribute.Map("api", attribute.String("key", "x"), attribute.String("keys", "y")),
			attribute.Map("api", attribute.String("key", masked), attribute.String("keys", masked))},
		{attribute.Slice("api", attribute.MapValue(attribute.String("key", "x"))),
			attribute.Slice("api", attribute.MapValue(attribute.String("key", masked)))},
		{attribute.Map("cache", attribute.String("key", "x")), attribute.Map("cache", attribute.String("key", "x"))},
		{attribute.KeyValue{Key: "password"}, attribute.KeyValue{Key: "password"}},
	}
	for _, test := range tests {
		in := []attribute.KeyValue{attribute.Int("first", 1), test.in}
		out, hits := r.Attributes(in)
		require.Equal(t, test.want, out[1])
		require.Equal(t, test.in, in[1], "what was given does not change")
		require.Equal(t, test.in != test.want, hits > 0, "%v", test.in)
		_, again := r.Attributes(out)
		require.Zero(t, again, "%v", test.in)
	}
}

func TestPatterns(t *testing.T) {
	r := redact.New(redact.Config{Patterns: []*regexp.Regexp{regexp.MustCompile(`cust-\d+`),
		regexp.MustCompile(`\bred\w*`), regexp.MustCompile(`x*$`)}})
	text, hits := r.Text("cust-1 and cust-22 paid red with " + card)
	require.Equal(t, masked+" and "+masked+" paid "+masked+" with "+masked, text)
	require.Equal(t, 4, hits)
	text, hits = r.Text(text)
	require.Zero(t, hits, text)
	attrs, hits := r.Attributes([]attribute.KeyValue{attribute.String("plain", "red"), attribute.Bool("on", true)})
	require.Equal(t, []attribute.KeyValue{attribute.String("plain", masked), attribute.Bool("on", true)}, attrs)
	require.Equal(t, 1, hits)

	for _, p := range []*regexp.Regexp{nil, {}, regexp.MustCompile(""), regexp.MustCompile("a*")} {
		require.Error(t, redact.CheckPattern(p))
	}
	require.NoError(t, redact.CheckPattern(regexp.MustCompile("a+")))

	text, hits = redact.New(redact.Config{Patterns: []*regexp.Regexp{{}}}).Text("what breaks a pattern is neither " +
		"lost nor shown")
	require.Equal(t, masked, text)
	require.Equal(t, 1, hits)
}

type octets []byte

// textual has a secret in the one form that encoding/json and slog show.
type textual struct{}

func (textual) MarshalText() ([]byte, error) { return []byte("paid " + card), nil }

// detailed says more when it is asked for more, as errors with stacks do.
type detailed struct{}

func (detailed) Error() string { return "failed" }
func (detailed) Format(s fmt.State, verb rune) {
	_, _ = s.Write([]byte("failed"))
	if s.Flag('+') {
		_, _ = s.Write([]byte(": " + card))
	}
}

// marshalled is an error that slog shows as JSON nevertheless.
type marshalled struct{}

func (marshalled) Error() string                { return "failed" }
func (marshalled) MarshalJSON() ([]byte, error) { return []byte(`{"n":"` + card + `"}`), nil }

func TestSlog(t *testing.T) {
	r := defaults(t)
	tests := []struct {
		groups     []string
		in         slog.Attr
		json, text string
	}{
		{nil, slog.String("msg", "paid "+card), "paid " + masked, "paid " + masked},
		{nil, slog.String("password", ""), "", ""},
		{nil, slog.Int64("n", 4111111111111111), masked, masked},
		{nil, slog.Int64("n", 6205500000000000004), "6205500000000000004", "6205500000000000004"},
		{nil, slog.Uint64("n", 4111111111111111), masked, masked},
		{nil, slog.Float64("n", 4111111111111111), masked, masked},
		{nil, slog.Float64("n", 17.5), "17.5", "17.5"},
		{nil, slog.Any("v", map[string]any{"n": 4111111111111111.0}), `{"n":"[redacted]"}`,
			"map[n:4.111111111111111e+15]"},
		{nil, slog.Any("v", struct{ User, Password string }{"bob", "correct horse"}),
			`{"User":"bob","Password":"[redacted]"}`, "{User:bob Password:[redacted]}"},
		{nil, slog.Uint64("n", 1<<63), "9223372036854775808", "9223372036854775808"},
		{nil, slog.Int("cvv", 1), masked, masked},
		{nil, slog.Bool("token", true), "true", "true"},
		{nil, slog.Duration("token", time.Second), "1s", "1s"},
		{nil, slog.Any("error", errors.New("card "+card)), "card " + masked, "card " + masked},
		{nil, slog.Any("v", []byte("paid "+card)), fmt.Sprint([]byte("paid " + masked)), "paid " + masked},
		{nil, slog.Any("v", octets("paid "+card)), fmt.Sprint([]byte("paid " + masked)), "paid " + masked},
		{nil, slog.Any("v", json.RawMessage(`{"n":"`+card+`"}`)), `{"n":"[redacted]"}`, `{"n":"[redacted]"}`},
		{nil, slog.Any("v", textual{}), `"paid [redacted]"`, "paid " + masked},
		{nil, slog.Any("v", detailed{}), "failed", "failed: " + masked},
		{nil, slog.Any("v", marshalled{}), `{"n":"[redacted]"}`, "failed"},
		{nil, slog.Any("v", map[string]any{"pin": 1234, "n": 1}), `{"n":1,"pin":"[redacted]"}`,
			"map[n:1 pin:[redacted]]"},
		{nil, slog.Any("v", []int64{4111111111111111}), "[" + masked + "]", "[" + masked + "]"},
		{nil, slog.Any("v", nil), "<nil>", "<nil>"},
		{nil, slog.Any("secret", nil), "<nil>", "<nil>"},
		{nil, slog.Any("secret", 1+2i), masked, masked},
		{nil, slog.Any("level", slog.LevelWarn), "WARN", "WARN"},
		{[]string{"api"}, slog.String("key", "x"), masked, masked},
		{[]string{"cache"}, slog.String("key", "x"), "x", "x"},
		{[]string{"credentials", "db"}, slog.String("user", "x"), masked, masked},
		{nil, slog.String("span_id", "4539578763621486"), "4539578763621486", "4539578763621486"},
	}
	for _, test := range tests {
		asJSON, asText := r.SlogJSON(test.groups, test.in), r.SlogText(test.groups, test.in)
		got := asJSON.Value.String()
		if raw, ok := asJSON.Value.Any().(interface{ MarshalJSON() ([]byte, error) }); ok &&
			asJSON.Value.Kind() == slog.KindAny && test.in.Key == "v" {
			data, err := raw.MarshalJSON()
			require.NoError(t, err)
			got = string(data)
		}
		require.Equal(t, []string{test.in.Key, test.in.Key}, []string{asJSON.Key, asText.Key})
		require.Equal(t, []string{test.json, test.text}, []string{got, asText.Value.String()}, "%v", test.in)
	}
}

// A group counts as a map of OTLP does: by its own key first.
func TestSlogGroupsThatAreAllowed(t *testing.T) {
	r := redact.New(redact.Config{AllowKeys: []string{"form"}})
	password := slog.String("password", "x")
	require.Equal(t, "x", r.SlogJSON([]string{"form", "login"}, password).Value.String())
	require.Equal(t, masked, r.SlogJSON([]string{"login"}, password).Value.String())
	in := []attribute.KeyValue{attribute.Map("form", attribute.Map("login", attribute.String("password", "x")))}
	out, _ := r.Attributes(in)
	require.Equal(t, in, out)
}

func TestMetricsOfEveryKind(t *testing.T) {
	r := defaults(t)
	kept := attribute.NewSet(attribute.String("password", "x"), attribute.Int("n", 1))
	want := attribute.NewSet(attribute.String("password", masked), attribute.Int("n", 1))
	exemplar := metricdata.Exemplar[int64]{FilteredAttributes: []attribute.KeyValue{attribute.String("card", card)}}
	float := metricdata.Exemplar[float64]{FilteredAttributes: exemplar.FilteredAttributes}
	kinds := []struct {
		data metricdata.Aggregation
		hits int
	}{
		{metricdata.Sum[int64]{DataPoints: []metricdata.DataPoint[int64]{{Attributes: kept,
			Exemplars: []metricdata.Exemplar[int64]{exemplar}}}}, 2},
		{metricdata.Sum[float64]{DataPoints: []metricdata.DataPoint[float64]{{Attributes: kept,
			Exemplars: []metricdata.Exemplar[float64]{float}}}}, 2},
		{metricdata.Gauge[int64]{DataPoints: []metricdata.DataPoint[int64]{{Attributes: kept}}}, 1},
		{metricdata.Gauge[float64]{DataPoints: []metricdata.DataPoint[float64]{{Attributes: kept}}}, 1},
		{metricdata.Histogram[int64]{DataPoints: []metricdata.HistogramDataPoint[int64]{{Attributes: kept,
			Exemplars: []metricdata.Exemplar[int64]{exemplar}}}}, 2},
		{metricdata.Histogram[float64]{DataPoints: []metricdata.HistogramDataPoint[float64]{{Attributes: kept}}}, 1},
		{metricdata.ExponentialHistogram[int64]{DataPoints: []metricdata.ExponentialHistogramDataPoint[int64]{{Attributes: kept}}}, 1},
		{metricdata.ExponentialHistogram[float64]{DataPoints: []metricdata.ExponentialHistogramDataPoint[float64]{{Attributes: kept, Exemplars: []metricdata.Exemplar[float64]{float}}}}, 2},
		{metricdata.Summary{DataPoints: []metricdata.SummaryDataPoint{{Attributes: kept}, {Attributes: kept}}}, 2},
		{nil, 0},
	}
	for _, kind := range kinds {
		rm := &metricdata.ResourceMetrics{ScopeMetrics: []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{{Data: kind.data}}}}}
		require.Equal(t, kind.hits, r.Metrics(rm), "%T", kind.data)
		require.Zero(t, r.Metrics(rm), "%T", kind.data)
	}
	sum := kinds[0].data.(metricdata.Sum[int64])
	require.Equal(t, want, sum.DataPoints[0].Attributes)
	require.Equal(t, masked, sum.DataPoints[0].Exemplars[0].FilteredAttributes[0].Value.AsString())
	require.Equal(t, card, exemplar.FilteredAttributes[0].Value.AsString(), "the SDK holds it")
}
