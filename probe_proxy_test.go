package telemetry_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// proxied is one way in which a proxy stands between. The proxy of a process is read from its environment once, so each
// case runs in a process of its own: TELEMETRY_TEST_PROXY has its name.
type proxied struct {
	name, protocol string
	answer         int    // of the proxy; 0 lets everything through
	down           bool   // nothing listens there
	want           string // with <proxy> in place of its address
	variable       string
	credentials    string // that the proxy wants
}

func proxiedCases() (all []proxied) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		variable := map[string]string{"http/protobuf": "HTTP_PROXY", "grpc": "HTTPS_PROXY"}[protocol]
		const direct = "add collector.test to NO_PROXY to go there directly"
		forbidden := "the proxy <proxy> (HTTPS_PROXY) does not get through to collector.test:4318: " + direct + ", or allow it in the proxy"
		if protocol != "grpc" { // the request goes through the proxy, and who has answered is not to be seen
			forbidden = "http://collector.test:4318/v1/* requires credentials (403 Forbidden): set OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies, or allow it in the proxy <proxy> (HTTP_PROXY)"
		}
		all = append(all,
			proxied{"refuses", protocol, 502, false, "the proxy <proxy> (" + variable + ") does not get through to collector.test:4318: " + direct + ", or allow it in the proxy", variable, ""},
			proxied{"forbids", protocol, 403, false, forbidden, variable, ""},
			proxied{"asks for credentials", protocol, 407, false,
				"the proxy <proxy> requires credentials (407): put them into " + variable + " as http://<user>:<password>@<proxy>, or " + direct, variable, "user:password"},
			proxied{"is away", protocol, 0, true, "the proxy <proxy> cannot be reached: correct " + variable + ", or " + direct, variable, ""})
	}
	return all
}

func TestProbeSeesTheProxy(t *testing.T) {
	if isChild() {
		childBehindProxy(t)
		return
	}
	t.Parallel()
	atOnce(t, proxiedCases(), func(c proxied) string { return c.protocol + ": " + c.name }, func(t *testing.T, c proxied) {
		collector := otlptest.New(t)
		proxy := proxyTo(t, address(collector.Endpoint(c.protocol)), c.answer, c.credentials)
		if c.down {
			proxy = otlptest.FreeAddress(t)
		}
		child := func(value string) string {
			return runTest(t, "TestProbeSeesTheProxy", c.variable+"="+value, endpointVariable+"=http://collector.test:4318", protocolVariable+"="+c.protocol)
		}
		output := child("http://" + proxy)
		require.Contains(t, output, "SAID telemetry: traces, metrics and logs: "+strings.ReplaceAll(c.want, "<proxy>", proxy)+"\n")
		require.Empty(t, collector.Spans())

		if c.credentials != "" { // wrong ones, and a proxy that repeats them
			output = child("http://mary:pw42@" + proxy)
			require.Contains(t, output, "requires credentials (407)")
			for _, secret := range []string{"mary", "pw42", base64.StdEncoding.EncodeToString([]byte("mary:pw42"))} {
				require.NotContains(t, output, secret)
			}
		}

		// What the line says: credentials, or another proxy that lets requests through. (NO_PROXY would need a name that
		// resolves.)
		value := "http://" + c.credentials + "@" + proxy
		if c.credentials == "" {
			value = "http://" + proxyTo(t, address(collector.Endpoint(c.protocol)), 0, "")
		}
		output = child(value)
		require.NotContains(t, output, "SAID telemetry: traces, metrics")
		require.NotContains(t, output, "password")
		require.Equal(t, []string{"x"}, spanNames(collector))
	})
}

// childBehindProxy waits for the probe, records one span and prints what was said.
func childBehindProxy(t *testing.T) {
	guard, console := inEnvironment(t, map[string]string{
		endpointVariable: os.Getenv(endpointVariable), protocolVariable: os.Getenv(protocolVariable), "OTEL_LOG_LEVEL": "debug", "OTEL_BSP_EXPORT_TIMEOUT": "2000",
	})
	require.Eventually(t, func() bool {
		return strings.Contains(console.String(), "telemetry: traces, metrics and logs: ")
	}, 50*time.Second, 5*time.Millisecond)
	_, span := guard.TracerProvider().Tracer("test").Start(t.Context(), "x")
	span.End()
	fmt.Println("ERROR", chain(guard.Shutdown(t.Context())), chain(guard.Health().Traces.LastError))
	for _, line := range warnings(console.String()) {
		fmt.Println("SAID " + line)
	}
}

// proxyTo starts a proxy that sends whatever host it is asked for to one address: plain requests, and tunnels.
func proxyTo(t *testing.T, target string, answer int, credentials string) string {
	t.Helper()
	server := httptest.NewServer(proxyHandler(target, answer, credentials))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return server.Listener.Addr().String()
}

func proxyHandler(target string, answer int, credentials string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
		if answer != 0 && (credentials == "" || r.Header.Get("Proxy-Authorization") != want) {
			for _, value := range r.Header["Proxy-Authorization"] { // a proxy may repeat what it was sent
				w.Header().Set("X-Echo", value)
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(answer)
				fmt.Fprintf(w, "no %s, %s", value, decoded(value))
				return
			}
			w.WriteHeader(answer)
			return
		}
		if r.Method == http.MethodConnect {
			tunnel(w, target)
			return
		}
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", target
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
}

// decoded is the user and the password of a header.
func decoded(value string) string {
	_, encoded, _ := strings.Cut(value, " ")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err.Error()
	}
	return string(plain)
}

func tunnel(w http.ResponseWriter, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, err = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	}
	if err != nil {
		_ = far.Close()
		return
	}
	go func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}()
	_, _ = io.Copy(far, buffered)
	_ = far.Close()
}
