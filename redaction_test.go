package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func TestSecretsAreNotExported(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			guard, console := start(t, c, telemetry.WithEndpoint(c.Endpoint(string(protocol))),
				telemetry.WithProtocol(protocol),
				telemetry.WithoutRuntimeMetrics())
			leak(t.Context(), guard)
			require.NoError(t, guard.Shutdown(t.Context()))
			requireBalanced(t, guard)

			require.Len(t, c.Spans(), 1)
			span := c.Spans()[0]
			require.Equal(t, "GET /cards/"+masked, span.Name)
			require.Equal(t, map[string]any{
				"order.id": "4711", "user.password": masked, "http.request.header.cookie": []any{masked, ""},
				"url.full": "https://" + masked + "@shop.example/pay?api_key=" + masked + "&page=2",
				"notes":    []any{"fine", "card " + masked}, "number": masked, "cvv": masked, "token": true,
				"payment": map[string]any{"card_number": masked, "tries": []any{masked}},
				"raw":     []byte("pan=" + masked),
			}, span.Attributes)
			require.Equal(t, masked, span.Links[0].Attributes["session.token"])
			require.Equal(t, "declined "+masked, span.Events[0].Name)
			require.Equal(t, masked, span.Events[0].Attributes["iban"])
			require.Equal(t, "charge "+masked+": declined", span.Events[1].Attributes["exception.message"])
			require.Contains(t, span.Events[1].Attributes["exception.stacktrace"], "telemetry_test.leak")
			require.Equal(t, `Get "https://x.example/?access_token=`+masked+`": EOF`, span.Status.Message)

			require.Len(t, c.LogRecords(), 1)
			record := c.LogRecords()[0]
			require.Equal(t, "paid with "+masked, record.Body)
			require.Equal(t, masked, record.Attributes["db_password"])
			require.Equal(t, span.TraceID, record.TraceID)
			request := record.Attributes["request"].(map[string]any)
			require.Equal(t, masked, request["authorization"])
			require.Equal(t, "card "+masked+" is stolen", request["error"])
			require.EqualValues(t, 17, request["n"])
			require.Equal(t, map[string]any{"number": masked, "cvc": masked}, request["card"])
			require.Equal(t, map[string]any{"password": masked, "page": int64(2)}, request["form"])
			require.Equal(t, "{Name:bob Password:"+masked+"}", request["user"])
			requireClean(t, fmt.Sprintf("%+v", record))

			for _, m := range c.Metrics() {
				if m.Name == "payments" {
					require.Equal(t, map[string]any{"api_key": masked, "note": masked}, m.Points[0].Attributes)
				}
			}
			require.Contains(t, metricNames(c), "payments")

			require.Contains(t, console.String(), `"msg":"paid with `+masked+`","db_password":"`+masked+`"`)
			require.Contains(t, console.String(), `"form":{"page":2,"password":"`+masked+`"}`)
			require.Contains(t, console.String(), `"user":{"Name":"bob","Password":"`+masked+`"}`)
			require.Contains(t, console.String(), `"trace_id":"`+span.TraceID)
			requireClean(t, console.String())

			h := guard.Health()
			require.EqualValues(t, 16, h.Traces.Redacted)
			require.EqualValues(t, 9, h.Logs.Redacted)
			require.EqualValues(t, 2, h.Metrics.Redacted)
		})
	}
}

func TestSecretsAreNotSpooled(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c, dir := otlptest.New(t), t.TempDir()
			require.NoError(t, c.Down())
			guard, _ := spooled(t, c, protocol, dir, telemetry.WithCompression(telemetry.CompressionNone))
			leak(t.Context(), guard)
			require.NoError(t, guard.Shutdown(t.Context()))
			require.EqualValues(t, 16, guard.Health().Traces.Redacted,
				"an export that is tried again is not counted again")
			require.EqualValues(t, 1, guard.Health().Logs.Spooled)
			files := spoolFiles(t, dir)
			require.GreaterOrEqual(t, len(files), 3)
			all := ""
			for _, content := range files {
				requireClean(t, content)
				all += content
			}
			require.Contains(t, all, "charge "+masked+": declined")
			require.Contains(t, all, "paid with "+masked)
		})
	}
}

// A batch that is too large for the server is sent again in halves.
func TestHalvedBatchesAreCountedOnce(t *testing.T) {
	c := otlptest.New(t)
	c.SetFault(otlptest.Fault{HTTPStatus: 413, Times: 2}, otlptest.Traces)
	guard, _ := start(t, c, telemetry.WithoutMetrics())
	for range 8 {
		_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x",
			trace.WithAttributes(attribute.String("password", password)))
		span.End()
	}
	require.NoError(t, guard.ForceFlush(t.Context()))
	require.Len(t, c.Spans(), 8)
	require.EqualValues(t, 8, guard.Health().Traces.Redacted)
	requireBalanced(t, guard)
}

func TestGivenExportersGetNoSecrets(t *testing.T) {
	spans, records := tracetest.NewInMemoryExporter(), &memoryLogExporter{}
	seen := tracetest.NewSpanRecorder()
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
		telemetry.WithSpanExporter(spans),
		telemetry.WithLogExporter(records), telemetry.WithMetricReader(sdkmetric.NewManualReader()),
		telemetry.WithSpanProcessors(seen))
	require.NoError(t, err)
	leak(t.Context(), guard)
	guard.LoggerProvider().Logger("other").Emit(t.Context(), bridged())
	require.NoError(t, guard.ForceFlush(t.Context()))
	require.Len(t, spans.GetSpans(), 1)
	requireClean(t, fmt.Sprintf("%+v", spans.GetSpans()))
	require.Contains(t, strings.Join(records.texts, "\n"), "paid with "+masked)
	require.Contains(t, records.texts, "bridged."+masked)
	requireClean(t, strings.Join(records.texts, "\n"))
	held := seen.Ended()[0] // by the service's own processors
	require.Equal(t, "GET /cards/"+card, held.Name())
	require.Equal(t, "declined "+card, held.Events()[0].Name)
	require.Equal(t, password, held.Links()[0].Attributes[0].Value.AsString())
	require.Equal(t, password, held.Attributes()[1].Value.AsString())
	require.NoError(t, guard.Shutdown(t.Context()))
}

func TestConsoleExportersGetNoSecrets(t *testing.T) {
	if isChild() {
		guard, err := telemetry.Init(t.Context(), telemetry.WithLogFormat(telemetry.LogFormatText),
			telemetry.WithoutRuntimeMetrics())
		require.NoError(t, err)
		leak(t.Context(), guard)
		guard.LoggerProvider().Logger("other").Emit(t.Context(), bridged())
		require.NoError(t, guard.Shutdown(t.Context()))
		return
	}
	output := runChild(t, "OTEL_TRACES_EXPORTER=console", "OTEL_METRICS_EXPORTER=console", "OTEL_LOGS_EXPORTER=console")
	requireClean(t, output)
	require.Contains(t, output, "GET /cards/"+masked)
	require.Contains(t, output, "payments")
	require.Contains(t, output, `msg="paid with `+masked+`" db_password=`+masked)
	require.Contains(t, output, `request.user="{Name:bob Password:`+masked+`}"`)
	require.Contains(t, output, `msg="bridged `+masked+`" token=`+masked)
}

// The development view shows spans before they end, and in their trees log lines that are written
// elsewhere.
func TestDevelopmentViewShowsNoSecrets(t *testing.T) {
	if isChild() {
		opts := []telemetry.Option{telemetry.WithProfile(telemetry.ProfileDevelopment),
			telemetry.WithoutRuntimeMetrics()}
		if os.Getenv("TEST_LOG_ELSEWHERE") != "" {
			opts = append(opts, telemetry.WithLogOutput(io.Discard))
		}
		guard, err := telemetry.Init(t.Context(), opts...)
		require.NoError(t, err)
		ctx, open := guard.TracerProvider().Tracer("test").Start(t.Context(), "open "+card,
			trace.WithAttributes(attribute.String("password", password)))
		guard.Logger().With("db_password", password).WithGroup("g").InfoContext(ctx, "open line "+card, "pin", 1234567,
			"raw", []byte("card "+card), slog.Group("api", "key", password))
		leak(t.Context(), guard)
		guard.LoggerProvider().Logger("other").Emit(ctx, bridged())
		require.NoError(t, guard.Shutdown(t.Context()))
		h := guard.Health()
		open.End()
		require.EqualValues(t, 16, h.Traces.Redacted, "once for each ended span")
		require.EqualValues(t, 2, h.Metrics.Redacted)
		return
	}
	for name, env := range map[string]string{
		"the view's lines": "", "text": "TELEMETRY_LOG_FORMAT=text", "JSON": "TELEMETRY_LOG_FORMAT=json",
		"elsewhere": "TEST_LOG_ELSEWHERE=1",
	} {
		t.Run(name, func(t *testing.T) {
			output := runTest(t, "TestDevelopmentViewShowsNoSecrets", "TELEMETRY_CONSOLE_FORMAT=tree", "COLUMNS=140",
				env)
			requireClean(t, output)
			require.NotContains(t, output, "1234567")
			require.Contains(t, output, "\n✗ GET /cards/"+masked)
			require.Contains(t, output, "\nopen "+masked+" password="+masked+" unfinished")
			if name == "elsewhere" {
				require.Regexp(t, `(?m)^[├└] INFO open line \[redacted\] db_password=\[redacted\] g\.pin=\[redacted\] g\.raw="card \[redacted\]" g\.api\.key`, output)
			}
			require.Regexp(t, `payments\n +api_key=\[redacted\] note=\[redacted\]`, output)
			require.Equal(t, 1, strings.Count(output, "open line "+masked), "as a line, or in its tree")
		})
	}
}

func TestRedactionFollowsOptionsAndVariables(t *testing.T) {
	tests := []struct {
		name  string
		env   map[string]string
		opts  []telemetry.Option
		email string
		order string
		pass  string
		ref   string
	}{
		{name: "default", email: "a@b", order: masked, pass: masked, ref: "cust-17"},
		{name: "off", opts: []telemetry.Option{telemetry.WithRedaction(telemetry.Redaction{Off: true})}, email: "a@b",
			order: card, pass: password, ref: "cust-17"},
		{name: "off by the environment", env: map[string]string{"TELEMETRY_REDACTION": "false"}, email: "a@b",
			order: card, pass: password, ref: "cust-17"},
		{name: "a wrong variable leaves it on", env: map[string]string{"TELEMETRY_REDACTION": "off"}, email: "a@b",
			order: masked, pass: masked, ref: "cust-17"},
		{
			name: "keys by the environment", env: map[string]string{"TELEMETRY_REDACTION_KEYS": "email",
				"TELEMETRY_REDACTION_ALLOW_KEYS": "paid.with"},
			email: masked, order: card, pass: masked, ref: "cust-17",
		},
		{
			name: "everything by option", email: masked, order: card, pass: password, ref: "of " + masked,
			opts: []telemetry.Option{telemetry.WithRedaction(telemetry.Redaction{
				Keys: []string{"email"}, AllowKeys: []string{"paid.with", "password"},
				Values: []*regexp.Regexp{regexp.MustCompile(`cust-\d+`)},
			})},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			c := otlptest.New(t)
			guard, console := start(t, c, test.opts...)
			ref := "of cust-17"
			_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x", trace.WithAttributes(
				attribute.String("customerEmail", "a@b"), attribute.String("paid.with", card),
				attribute.String("password", password), attribute.String("ref", ref)))
			span.End()
			guard.Logger().Info("x", "customerEmail", "a@b", "paid.with", card, "password", password, "ref", ref)
			require.NoError(t, guard.Shutdown(t.Context()))
			want := map[string]any{
				"customerEmail": test.email, "paid.with": test.order, "password": test.pass,
				"ref": "of " + strings.TrimPrefix(test.ref, "of "),
			}
			require.Equal(t, want, c.Spans()[0].Attributes)
			require.Equal(t, want, c.LogRecords()[0].Attributes)
			require.Contains(t, console.String(),
				fmt.Sprintf(`"customerEmail":%q,"paid.with":%q,"password":%q,"ref":%q`,
					want["customerEmail"], want["paid.with"], want["password"], want["ref"]))
		})
	}
}

func TestInvalidRedactionIsAnErrorAndKeepsTheDefaults(t *testing.T) {
	c := otlptest.New(t)
	console := &bytes.Buffer{}
	guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(console),
		telemetry.WithEndpoint(c.HTTPEndpoint()), telemetry.WithRedaction(telemetry.Redaction{
			Keys: []string{"email", "..."}, AllowKeys: []string{""}, Values: []*regexp.Regexp{regexp.MustCompile("a*")},
		}))
	require.ErrorContains(t, err, `WithRedaction(Redaction{Keys}): "email,...": key "..." has no letter and no digit; it must be a list of attribute keys`)
	require.ErrorContains(t, err, `telemetry: WithRedaction(Redaction{AllowKeys}): key "" has no letter and no digit`)
	require.ErrorContains(t, err, `WithRedaction(Redaction{Values}): "a*": pattern "a*" matches the empty text; it must be a list of compiled regular expressions`)
	leak(t.Context(), guard)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Len(t, c.Spans(), 1)
	requireClean(t, fmt.Sprintf("%+v %+v", c.Spans(), c.LogRecords()))

	for name, pattern := range map[string]*regexp.Regexp{"is nil": nil, "is not compiled": {}} {
		guard, err := telemetry.Init(t.Context(), telemetry.WithoutGlobals(), telemetry.WithLogOutput(io.Discard),
			telemetry.WithEndpoint(c.HTTPEndpoint()),
			telemetry.WithRedaction(telemetry.Redaction{Values: []*regexp.Regexp{pattern}}))
		require.ErrorContains(t, err, name)
		require.NoError(t, guard.Shutdown(t.Context()))
	}
}

func TestValuesThatPanicLoseNothing(t *testing.T) {
	for _, format := range []telemetry.LogFormat{telemetry.LogFormatJSON, telemetry.LogFormatText} {
		c := otlptest.New(t)
		guard, console := start(t, c, telemetry.WithLogFormat(format))
		var none *noError
		guard.Logger().Info("one "+card, "value", broken{password}, "error", error(none), "n", 1)
		guard.Logger().Info("two "+card, "ch", make(chan int), "token", broken{password})
		require.NoError(t, guard.Shutdown(t.Context()))
		require.Equal(t, []string{"one " + masked, "two " + masked}, logBodies(c))
		require.Contains(t, console.String(), "one "+masked)
		require.Contains(t, console.String(), "two "+masked)
		requireClean(t, console.String()+fmt.Sprintf("%+v", c.LogRecords()))
	}
}

func TestDroppedAttributesAreStillCounted(t *testing.T) {
	t.Setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "3")
	c := otlptest.New(t)
	guard, _ := start(t, c)
	_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x")
	span.SetAttributes(attribute.String("password", password), attribute.Int("a", 1), attribute.Int("b", 2),
		attribute.Int("c", 3), attribute.Int("d", 4))
	span.End()
	guard.Logger().Info("x", "password", password, "a", 1, "b", 2, "c", 3, "d", 4)
	require.NoError(t, guard.Shutdown(t.Context()))
	require.Equal(t, masked, c.Spans()[0].Attributes["password"])
	require.EqualValues(t, 2, c.Spans()[0].DroppedAttributes)
	require.Equal(t, map[string]any{"password": masked, "a": int64(1), "b": int64(2)}, c.LogRecords()[0].Attributes)
	require.EqualValues(t, 2, c.LogRecords()[0].DroppedAttributes)
}

const (
	card     = "4111111111111111"
	password = "hunter2-correct-horse"
	masked   = "[redacted]"
)

// leak puts secrets wherever a span, a log record and a metric can hold them.
func leak(ctx context.Context, g *telemetry.Guard) {
	other := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx, span := g.TracerProvider().Tracer("test").Start(ctx, "GET /cards/"+card,
		trace.WithLinks(trace.Link{SpanContext: other,
			Attributes: []attribute.KeyValue{attribute.String("session.token", password)}}))
	span.SetAttributes(
		attribute.String("order.id", "4711"),
		attribute.String("user.password", password),
		attribute.StringSlice("http.request.header.cookie", []string{"sid=" + password, ""}),
		attribute.String("url.full", "https://bob:"+password+"@shop.example/pay?api_key="+password+"&page=2"),
		attribute.StringSlice("notes", []string{"fine", "card 4111 1111 1111 1111"}),
		attribute.Int64("number", 4111111111111111),
		attribute.Int("cvv", 123),
		attribute.Bool("token", true),
		attribute.Map("payment", attribute.String("card_number", card),
			attribute.Slice("tries", attribute.StringValue(card))),
		attribute.ByteSlice("raw", []byte("pan="+card)))
	span.AddEvent("declined "+card, trace.WithAttributes(attribute.String("iban", "DE89370400440532013000")))
	span.RecordError(errors.New("charge 4111-1111-1111-1111: declined"), trace.WithStackTrace(true))
	span.SetStatus(codes.Error, `Get "https://x.example/?access_token=`+password+`": EOF`)
	g.Logger().With("db_password", password).WithGroup("request").InfoContext(ctx, "paid with "+card,
		"authorization", "Bearer "+password, "error", fmt.Errorf("card %s is stolen", card), "n", 17,
		slog.Group("card", "number", card, "cvc", 999), "form", map[string]any{"password": password, "page": 2},
		"user", struct{ Name, Password string }{"bob", password})
	counter, _ := g.MeterProvider().Meter("test").Int64Counter("payments")
	counter.Add(ctx, 1, metric.WithAttributes(attribute.String("api_key", password), attribute.String("note", card)))
	span.End()
}

// requireClean checks a text that has left the process.
func requireClean(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{card, "4111 1111 1111 1111", "4111-1111-1111-1111", password,
		"DE89370400440532013000"} {
		require.NotContains(t, text, secret)
	}
}

// memoryLogExporter keeps the records that it gets.
type memoryLogExporter struct{ texts []string }

func (e *memoryLogExporter) Export(_ context.Context, records []sdklog.Record) error {
	for _, r := range records {
		e.texts = append(e.texts, r.Body().String(), r.EventName())
		r.WalkAttributes(func(kv attribute.KeyValue) bool { e.texts = append(e.texts, kv.String()); return true })
	}
	return nil
}

func (*memoryLogExporter) Shutdown(context.Context) error { return nil }

func (*memoryLogExporter) ForceFlush(context.Context) error { return nil }

// A value of the service that fails to format loses no record.
type broken struct{ Password string }

func (broken) MarshalJSON() ([]byte, error) { panic("broken") }

func (broken) String() string { panic("broken") }

type noError struct{ text string }

func (e *noError) Error() string { return e.text }

// bridged is a record that does not come from slog.
func bridged() (r otellog.Record) {
	r.SetSeverity(otellog.SeverityInfo)
	r.SetBody(attribute.StringValue("bridged " + card))
	r.SetEventName("bridged." + card)
	r.AddAttributes(attribute.String("token", password))
	return r
}
