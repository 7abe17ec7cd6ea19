package lines_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/signal"
)

var update = flag.Bool("update", false, "write testdata/lines.golden")

// examples has each function that makes a line or a part of one, with what it says.
func examples() []example {
	refused := errors.New("nothing listens at collector:4318: start a collector there, or correct " +
		"OTEL_EXPORTER_OTLP_ENDPOINT")
	disk := errors.New("no space left on device")
	since := time.Date(2026, 11, 26, 14, 5, 0, 0, time.UTC)
	undeliverable := lines.Undeliverable(signal.Traces,
		lines.IsRetried(signal.Traces, 30*time.Second, "OTEL_BSP_EXPORT_TIMEOUT"), refused)
	lost := lines.Lost(signal.Traces, 1024, "", refused)
	lostPoint := lines.Lost(signal.Metrics, 1, "", refused)
	return []example{
		{"Problem", []lines.Line{
			lines.Problem("OTEL_BSP_MAX_QUEUE_SIZE", `"-1"`, "must be a whole number from 1 to 1048576",
				"the variable is ignored"),
			lines.Problem("WithSampler", "", "its Description fails: panic: nil pointer", "traces are off"),
			lines.Problem("WithProtocol", `"http"`,
				"is unknown; use grpc or http/protobuf (did you mean http/protobuf?)", "traces are off"),
			lines.Problem("WithRedaction(Redaction{Keys})", `"-"`, "a key has no letter or digit",
				"the others are used"),
			lines.Problem(lines.Argument, `"ftp://a"`, `scheme "ftp" is not http or https`, "traces are off"),
		}},
		{"UnsupportedVariable", []lines.Line{lines.UnsupportedVariable("OTEL_METRICS_PRODUCERS",
			"use WithMetricReader with a reader that has the producer")}},
		{"UnknownVariable", []lines.Line{
			lines.UnknownVariable("OTEL_EXPORTER_OLTP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
			lines.UnknownVariable("TELEMETRY_FAST", ""),
		}},
		{"UnusedSamplerArg", []lines.Line{
			lines.UnusedSamplerArg("OTEL_TRACES_SAMPLER_ARG", ""), lines.UnusedSamplerArg("OTEL_TRACES_SAMPLER_ARG",
				"WithSampler"),
		}},
		{"UnusedSampling", []lines.Line{lines.UnusedSampling("TELEMETRY_TRACES_PER_SECOND", "OTEL_TRACES_SAMPLER")}},
		{"Overrides", []lines.Line{
			lines.Overrides(`WithServiceName("checkout")`, `OTEL_SERVICE_NAME="shop"`, true),
			lines.Overrides(`OTEL_SERVICE_NAME="shop"`, `service.name="x" in OTEL_RESOURCE_ATTRIBUTES`, false),
		}},
		{"CredentialsOfEarlierEndpoint", []lines.Line{lines.CredentialsOfEarlierEndpoint("ForTraces(WithHeaders)")}},
		{"PlainToken", []lines.Line{lines.PlainToken("OTEL_EXPORTER_OTLP_ENDPOINT", signal.Logs)}},
		{"AssumedScheme", []lines.Line{lines.AssumedScheme("OTEL_EXPORTER_OTLP_ENDPOINT", "https", "collector:4318")}},
		{"UnusedTLS", []lines.Line{lines.UnusedTLS("WithEndpoint")}},
		{"UnusedPath", []lines.Line{lines.UnusedPath("WithEndpoint")}},
		{"PathOfAnotherSignal", []lines.Line{lines.PathOfAnotherSignal("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
			signal.Traces, signal.Metrics)}},
		{"PathInBaseURL", []lines.Line{
			lines.PathInBaseURL("OTEL_EXPORTER_OTLP_ENDPOINT", signal.Traces, "set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
		}},
		{"NoServiceName", []lines.Line{lines.NoServiceName("main")}},
		{"DetectorFailed", []lines.Line{lines.DetectorFailed("gcp.Detector",
			errors.New("no answer within 2s; its goroutine was abandoned"))}},
		{"Started", []lines.Line{lines.Started(slog.String("service.name", "checkout"),
			slog.String("traces", "http/protobuf http://collector:4318/v1/traces"))}},
		{"EarlyLogger", []lines.Line{lines.EarlyLogger("main.go:12")}},
		{"LogPackageBlocked", []lines.Line{lines.LogPackageBlocked(250 * time.Millisecond)}},

		{"Undeliverable", []lines.Line{
			undeliverable, lines.Undeliverable(signal.Metrics,
				lines.IsRetried(signal.Metrics, time.Minute, "WithMetricTimeout"), refused),
			lines.Undeliverable(signal.Logs, lines.WaitsOnDisk, refused),
		}},
		{"IsRetried", nil}, // in Undeliverable
		{"UndeliverableToo", []lines.Line{lines.UndeliverableToo(undeliverable, signal.Logs, signal.Traces)}},
		{"DeliveredAgain", []lines.Line{
			lines.DeliveredAgain(signal.Traces, 3*time.Minute, 5120, 0, lines.Losses(0, nil, nil)),
			lines.DeliveredAgain(signal.Logs, 800*time.Millisecond, 1, 7,
				lines.Losses(7, []string{"failed"}, map[string]int64{"failed": 7})),
		}},
		{"RefusedAgain", []lines.Line{
			lines.RefusedAgain(signal.Traces, 3*time.Minute, 0, 9000,
				lines.Losses(9000, []string{"failed", "queue_full"},
					map[string]int64{"failed": 5000, "queue_full": 4000}), errors.New("401 Unauthorized")),
		}},
		{"Losses", nil}, // in DeliveredAgain and RefusedAgain
		{"ExportFailed", []lines.Line{lines.ExportFailed(signal.Logs,
			errors.New("the server warns: too many attributes"))}},
		{"Lost", []lines.Line{lost, lostPoint}},
		{"LossCause", nil}, // is not shown
		{"LostTogether", []lines.Line{lines.LostTogether([]string{"3 spans", "1 log record"}, refused)}},
		{"EndpointIsFine", []lines.Line{lines.EndpointIsFine([]string{"traces", "metrics", "logs"}, "collector:4318")}},
		{"EndpointIsNot", []lines.Line{lines.EndpointIsNot([]string{"traces", "logs"}, refused.Error())}},
		{"CredentialsNotRenewed", []lines.Line{lines.CredentialsNotRenewed(errors.New("/run/token: permission denied"))}},
		{"SpoolUnwritable", []lines.Line{lines.SpoolUnwritable(disk)}},
		{"SpoolWritable", []lines.Line{lines.SpoolWritable()}},
		{"SpoolFull", []lines.Line{lines.SpoolFull()}},
		{"SpoolFullAndStuck", []lines.Line{lines.SpoolFullAndStuck(errors.New("permission denied"))}},
		{"SpoolFilesLeft", []lines.Line{lines.SpoolFilesLeft(3, "/spool/a.otlp: written by a newer version"),
			lines.SpoolFilesLeft(1, "/spool/a.otlp: written by a newer version")}},
		{"SpoolFileGone", []lines.Line{lines.SpoolFileGone(errors.New("its checksum is wrong"))}},
		{"SpoolFileSetAside", []lines.Line{lines.SpoolFileSetAside("/spool/a.otlp.corrupt",
			errors.New("its checksum is wrong"))}},
		{"SpoolFileDamaged", []lines.Line{lines.SpoolFileDamaged(errors.New("a spool file is unreadable (its " +
			"checksum is wrong) and cannot be moved: read-only file system"))}},
		{"SpoolFileSent", []lines.Line{lines.SpoolFileSent(errors.New("permission denied"))}},

		{"SignalReceived", []lines.Line{lines.SignalReceived("SIGTERM", false), lines.SignalReceived("SIGINT", true)}},
		{"SignalReceivedAgain", []lines.Line{lines.SignalReceivedAgain("SIGINT", "3 spans"),
			lines.SignalReceivedAgain("SIGINT", "")}},
		{"StillDelivering", []lines.Line{
			lines.StillDelivering("3 spans and 1 log record", 8700*time.Millisecond, true),
			lines.StillDelivering("", time.Millisecond, false),
		}},
		{"ShutdownFailed", []lines.Line{lines.ShutdownFailed(errors.New("telemetry: shutdown metrics: did not stop " +
			"in time and was abandoned"))}},
		{"Stopped", []lines.Line{
			lines.Stopped(false, slog.Group("traces", slog.Int("exported", 12), slog.Int("lost", 0))),
			lines.Stopped(true, slog.Group("traces", slog.Int("exported", 12), slog.Int("lost", 3))),
		}},

		{"FromSDK", []lines.Line{lines.FromSDK(slog.LevelWarn, "dropping view; criteria: \"http.*\"")}},
		{"FromError", []lines.Line{lines.FromError(errors.New("telemetry: a log record panicked: nil pointer"))}},
		{"SelfMetricsIncomplete", []lines.Line{lines.SelfMetricsIncomplete(errors.New("panic: broken view"))}},
		{"BaggageLeftOut", []lines.Line{lines.BaggageLeftOut(64, 8192, 70, []string{"tenant", "user"})}},
		{"NotTrusted", []lines.Line{lines.NotTrusted("https://checkout")}},
		{"RequestsWithoutRoute", []lines.Line{
			lines.RequestsWithoutRoute(100, "github.com/go-chi/chi/v5"), lines.RequestsWithoutRoute(100, "net/http"),
		}},
		{"ServerSpanWithin", []lines.Line{lines.ServerSpanWithin()}},
		{"SecondServerSpan", []lines.Line{lines.SecondServerSpan("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp")}},
		{"SwitchFailed", []lines.Line{lines.SwitchFailed(errors.New("panic: broken view"))}},
		{"CallbacksIgnored", []lines.Line{lines.CallbacksIgnored("queue.length")}},
		{"CallbackFailed", []lines.Line{lines.CallbackFailed("the metric callback of queue.length (scope worker)",
			errors.New("no answer in time"))}},
		{"OutputBlocked", []lines.Line{lines.FromError(lines.OutputBlocked("the log output", 1250*time.Millisecond,
			3))}},

		{"Repeated", []lines.Line{
			lines.Repeated(lines.SpoolFull().Cause(), slog.LevelWarn, 1482, "minute", since),
			lines.Repeated(undeliverable.Cause(), slog.LevelWarn, 1, "12s", since),
			lost.Loss().Repeated(slog.LevelError, 2048, "minute", since),
			lostPoint.Loss().Repeated(slog.LevelError, 1, "3s", since),
		}},
		{"FurtherProblems", []lines.Line{lines.FurtherProblems(slog.LevelWarn)}},
	}
}

// sentences has each function that makes a sentence about an endpoint, in a line about traces.
func sentences() []example {
	const (
		address  = "collector:4318"
		url      = "http://collector:4318"
		place    = url + "/v1/*"
		proxy    = "proxy:3128"
		endpoint = lines.Setting("OTEL_EXPORTER_OTLP_ENDPOINT")
		own      = lines.Setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
		protocol = lines.Setting("OTEL_EXPORTER_OTLP_PROTOCOL")
		headers  = lines.Setting("OTEL_EXPORTER_OTLP_HEADERS")
		ca       = lines.Setting("OTEL_EXPORTER_OTLP_CERTIFICATE")
		cert     = lines.Setting("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
		key      = lines.Setting("OTEL_EXPORTER_OTLP_CLIENT_KEY")
		gzip     = lines.Setting("OTEL_EXPORTER_OTLP_COMPRESSION")
	)
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	says := func(function string, sentences ...string) example {
		e := example{function: function}
		for _, sentence := range sentences {
			e.says = append(e.says, lines.EndpointIsNot([]string{"traces"}, sentence))
		}
		return e
	}
	return []example{
		says("HostUnresolved", lines.HostUnresolved("collector", endpoint)),
		says("NothingListens",
			lines.NothingListens(address, "2 of 2 addresses tried", "", endpoint),
			lines.NothingListens("localhost:4318", "", "localhost", lines.Argument)),
		says("NothingListensByDefault", lines.NothingListensByDefault("localhost:4318", "localhost", endpoint)),
		says("CannotConnect", lines.CannotConnect(address, 10*time.Second, "3 of 4 addresses tried", endpoint)),
		says("NoAnswer", lines.NoAnswer(address, 10*time.Second, endpoint)),
		says("ClosesConnections", lines.ClosesConnections(address, endpoint)),
		says("UntrustedAuthority", lines.UntrustedAuthority(address, "CN=Shop CA", ca),
			lines.UntrustedAuthority(address, "", "WithTLSConfig")),
		says("AuthorityNotInFile", lines.AuthorityNotInFile(address, "CN=Shop CA", ca)),
		says("WrongHostName",
			lines.WrongHostName(address, "otel.example.com", "collector", endpoint),
			lines.WrongHostName(address, "a.example.com, 10.0.0.7", "collector", endpoint)),
		says("WrongHostNameAmongUnknown",
			lines.WrongHostNameAmongUnknown(address, "x509: certificate is not valid for any names", endpoint)),
		says("CertificateNotValidNow", lines.CertificateNotValidNow(address, lines.ExpiredOn(noon)),
			lines.CertificateNotValidNow(address, lines.ValidFrom(noon))),
		says("ExpiredOn"), says("ValidFrom"), // in CertificateNotValidNow
		says("ClientCertificateMissing", lines.ClientCertificateMissing(address, cert, key)),
		says("ClientCertificateRefused",
			lines.ClientCertificateRefused(address, "remote error: tls: bad certificate", cert, key)),
		says("NoTLS", lines.NoTLS(address, endpoint, url)),
		says("NeedsTLS",
			lines.NeedsTLS(lines.TLSPort{Address: address, Endpoint: endpoint, URL: "https://collector:4318"}),
			lines.NeedsTLS(lines.TLSPort{
				Address: address, Endpoint: "WithEndpoint", URL: "https://collector:4318", Protocol: protocol,
				Wanted: "http/protobuf", Spoken: "grpc",
				Untrusted: true, Certificate: ca, Issuer: "CN=Shop CA",
			})),
		says("AnswersGRPC", lines.AnswersGRPC("collector:4317", "port 4318", protocol)),
		says("AnswersHTTP",
			lines.AnswersHTTP(address, "port 4317", "ForTraces(WithProtocol)", endpoint, ""),
			lines.AnswersHTTP(address, "port 4317", protocol, own, url+"/v1/traces")),
		says("ProxyInvalid", lines.ProxyInvalid("HTTPS_PROXY", "must be a URL such as http://proxy:3128", "collector")),
		says("ProxyUnreachable", lines.ProxyUnreachable(proxy, "HTTPS_PROXY", "collector")),
		says("ProxyCredentials", lines.ProxyCredentials(proxy, "http", "407", "HTTPS_PROXY", "collector")),
		says("ProxyCannotReach", lines.ProxyCannotReach(proxy, "HTTPS_PROXY", address, "collector")),
		says("CredentialsMissing",
			lines.CredentialsMissing(place, "401 Unauthorized", "", headers),
			lines.CredentialsMissing(place, "403 Forbidden", proxy+" (HTTP_PROXY)", headers)),
		says("CredentialsRefused", lines.CredentialsRefused(place, "401 Unauthorized", "", headers)),
		says("SignalNotAccepted",
			lines.SignalNotAccepted(address, signal.Traces, "404 Not Found", false),
			lines.SignalNotAccepted("collector:4317", signal.Traces, "Unimplemented: unknown service", true)),
		says("CannotDecompress", lines.CannotDecompress(address, "Unimplemented: Decompressor is not installed", gzip)),
		says("RedirectsTo", lines.RedirectsTo(place, "https://collector/v1/*", endpoint, "https://collector")),
		says("Redirects", lines.Redirects(place, "302 Found", endpoint)),
		says("ReceiverElsewhere", lines.ReceiverElsewhere(place, "404 Not Found", url+"/otlp/v1/*", endpoint,
			url+"/otlp")),
		says("PathMissing", lines.PathMissing(url, "404 Not Found", own, url+"/v1/traces")),
		says("NoReceiverOnServer", lines.NoReceiverOnServer(place, "404 Not Found", address, endpoint)),
		says("NoReceiverAtPath", lines.NoReceiverAtPath(url+"/x", "404 Not Found", own, "/v1/traces"),
			lines.NoReceiverAtPath(url+"/x/v1/*", "404 Not Found", endpoint, "")),
		says("Answers", lines.Answers(place, "503 Service Unavailable")),
		says("RequestsFail", lines.RequestsFail(place, "unexpected EOF")),
	}
}

type example struct {
	function string
	says     []lines.Line
}

// TestGolden keeps all lines in one file, to be read aloud.
func TestGolden(t *testing.T) {
	var b strings.Builder
	var named []string
	for _, e := range append(examples(), sentences()...) {
		named = append(named, e.function)
		for _, line := range e.says {
			fmt.Fprintf(&b, "%-5s %s", line.Level(), line.Text())
			for _, a := range line.Attrs() {
				fmt.Fprintf(&b, " | %s", a)
			}
			b.WriteByte('\n')
		}
	}
	for _, function := range functionsThatSay(t) {
		require.Contains(t, named, function, "it has no example in the golden file")
	}
	golden := filepath.Join("testdata", "lines.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "make update writes it")
}

// functionsThatSay are the exported functions of the package that return a line, a text or an
// error; methods and words.go left out.
func functionsThatSay(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || path == "words.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results == nil {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name != "bool" {
				names = append(names, f.Name.Name)
			}
		}
	}
	require.Greater(t, len(names), 40)
	return names
}

func TestLineIsAnError(t *testing.T) {
	cause := errors.New("refused")
	line := lines.CredentialsNotRenewed(cause)
	require.ErrorIs(t, line, cause)
	require.EqualError(t, line, "telemetry: credentials could not be reloaded: refused")
	require.EqualError(t, lines.Stopped(false, slog.Int("a", 1), slog.Int("b", 2)), "telemetry: stopped: a=1, b=2")
}
