package telemetry_test

import (
	"bytes"
	"crypto/tls"
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

func TestProbeExplainsProxyErrors(t *testing.T) {
	if isChild() {
		childBehindProxy(t)
		return
	}
	t.Parallel()
	atOnce(t, proxiedCases(), func(c proxied) string { return c.protocol + ": " + c.name },
		func(t *testing.T, c proxied) {
			collector := otlptest.New(t)
			proxy := proxyTo(t, address(collector.Endpoint(c.protocol)), c.answer, c.credentials)
			if c.down {
				proxy = otlptest.FreeAddress(t)
			}
			child := func(value string) string {
				return runTest(t, "TestProbeExplainsProxyErrors", c.variable+"="+value,
					endpointVariable+"=http://collector.test:4318", protocolVariable+"="+c.protocol)
			}
			output := child("http://" + proxy)
			require.Contains(t, output, "SAID telemetry: traces, metrics and logs: "+
				strings.ReplaceAll(c.want, "<proxy>",
					proxy)+"\n")
			require.Empty(t, collector.Spans())

			if c.credentials != "" { // wrong ones, and a proxy that repeats them
				output = child("http://mary:pw42@" + proxy)
				require.Contains(t, output, "requires credentials (407)")
				for _, secret := range []string{"mary", "pw42",
					base64.StdEncoding.EncodeToString([]byte("mary:pw42"))} {
					require.NotContains(t, output, secret)
				}
			}

			// What the line says: credentials, or another proxy that lets requests through.
			// (NO_PROXY would need a name that resolves.)
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

// TestDeliveryThroughSOCKSAndOtherProxies delivers over both protocols through proxies other than
// plain HTTP ones, and checks the reported problem. Each child records a span at
// http://collector.test:4318, which only the proxy can resolve.
func TestDeliveryThroughSOCKSAndOtherProxies(t *testing.T) {
	if isChild() {
		childBehindProxy(t)
		return
	}
	t.Parallel()
	type behind struct {
		name, protocol string
		credentials    string // that the proxy wants
		setting        string // of the variable, where %s is the proxy's address
		refuses, down  bool
		says           string // "" where the span arrives
	}
	var all []behind
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		variable := "HTTPS_PROXY"
		if protocol != "grpc" {
			variable = "HTTP_PROXY"
		}
		const direct = "add collector.test to NO_PROXY to bypass the proxy"
		all = append(all,
			behind{name: "socks5", protocol: protocol, setting: "socks5://<proxy>"},
			behind{name: "socks5h with credentials", protocol: protocol, credentials: "mary:pw42pw42",
				setting: "socks5h://mary:pw42pw42@<proxy>"},
			behind{name: "credentials missing", protocol: protocol, credentials: "mary:pw42pw42",
				setting: "socks5://<proxy>",
				says: "the proxy <proxy> requires credentials: put them in " + variable +
					" as socks5://<user>:<password>@<proxy>, or " + direct},
			behind{name: "credentials wrong", protocol: protocol, credentials: "mary:other",
				setting: "socks5://mary:pw42pw42@<proxy>",
				says: "the proxy <proxy> requires credentials: put them in " + variable +
					" as socks5://<user>:<password>@<proxy>, or " + direct},
			behind{name: "refuses", protocol: protocol, refuses: true, setting: "socks5://<proxy>",
				says: "the proxy <proxy> (" + variable + ") cannot reach collector.test:4318: " + direct +
					", or allow it in the proxy"},
			behind{name: "down", protocol: protocol, down: true, setting: "socks5://<proxy>",
				says: "the proxy <proxy> cannot be reached: correct " + variable + ", or " + direct},
			behind{name: "another scheme", protocol: protocol, setting: "socks4://mary:pw42pw42@<proxy>",
				says: variable + " cannot be used: it must be http://host:port, https://host:port or " +
					"socks5://host:port, or " + direct})
	}
	atOnce(t, all, func(b behind) string { return b.protocol + ": " + b.name }, func(t *testing.T, b behind) {
		collector := otlptest.New(t)
		proxy := otlptest.FreeAddress(t)
		if !b.down {
			proxy = socksProxy(t, address(collector.Endpoint(b.protocol)), b.credentials, b.refuses)
		}
		variable := "HTTP_PROXY="
		if b.protocol == "grpc" {
			variable = "HTTPS_PROXY="
		}
		output := runTest(t, "TestDeliveryThroughSOCKSAndOtherProxies",
			variable+strings.ReplaceAll(b.setting, "<proxy>", proxy),
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+b.protocol)
		for _, secret := range []string{"pw42pw42", base64.StdEncoding.EncodeToString([]byte("mary:pw42pw42"))} {
			require.NotContains(t, output, secret)
		}
		if b.says == "" {
			require.NotContains(t, output, "SAID telemetry: traces, metrics")
			require.Equal(t, []string{"x"}, spanNames(collector), output)
			return
		}
		require.Contains(t, output, "SAID telemetry: traces, metrics and logs: "+strings.ReplaceAll(b.says, "<proxy>",
			proxy)+"\n")
		require.Empty(t, collector.Spans())
	})
}

// TestDeliveryThroughATLSProxy asks a proxy for a tunnel over TLS.
func TestDeliveryThroughATLSProxy(t *testing.T) {
	if isChild() {
		childBehindProxy(t)
		return
	}
	t.Parallel()
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(certs.ServerCertFile, certs.ServerKeyFile)
	require.NoError(t, err)
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		collector := otlptest.New(t)
		server := httptest.NewUnstartedServer(proxyHandler(address(collector.Endpoint(protocol)), 407, "mary:pw42pw42"))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.StartTLS()
		t.Cleanup(server.Close)
		variable := "HTTP_PROXY="
		if protocol == "grpc" {
			variable = "HTTPS_PROXY="
		}
		output := runTest(t, "TestDeliveryThroughATLSProxy",
			variable+"https://mary:pw42pw42@"+server.Listener.Addr().String(), "SSL_CERT_FILE="+certs.CAFile,
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+protocol)
		require.Equal(t, []string{"x"}, spanNames(collector), output)
		require.NotContains(t, output, "pw42pw42")
		output = runTest(t, "TestDeliveryThroughATLSProxy", variable+"https://"+server.Listener.Addr().String(),
			"SSL_CERT_FILE="+certs.CAFile+".none",
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+protocol)
		require.Contains(t, output, "SAID telemetry: traces, metrics and logs: the proxy "+
			server.Listener.Addr().String()+" cannot be reached", "its certificate is not the collector's")
	}
}

// proxied is one behavior of a proxy. A process reads its proxy from the environment once, so each
// case runs in a process of its own, and TELEMETRY_TEST_PROXY has the case's name.
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
		const direct = "add collector.test to NO_PROXY to bypass the proxy"
		forbidden := "the proxy <proxy> (HTTPS_PROXY) cannot reach collector.test:4318: " + direct +
			", or allow it in the proxy"
		// the request goes through the proxy, so it is not visible which of the two has answered
		if protocol != "grpc" {
			forbidden = "http://collector.test:4318/v1/* requires credentials (403 Forbidden): set " +
				"OTEL_EXPORTER_OTLP_HEADERS=name=value as its operator specifies, or allow it in the proxy <proxy> " +
				"(HTTP_PROXY)"
		}
		all = append(all,
			proxied{name: "refuses", protocol: protocol, answer: 502,
				want: "the proxy <proxy> (" + variable + ") cannot reach collector.test:4318: " + direct +
					", or allow it in the proxy", variable: variable},
			proxied{name: "forbids", protocol: protocol, answer: 403, want: forbidden, variable: variable},
			proxied{name: "asks for credentials", protocol: protocol, answer: 407,
				want: "the proxy <proxy> requires credentials (407): put them in " + variable +
					" as http://<user>:<password>@<proxy>, or " + direct, variable: variable,
				credentials: "user:password"},
			proxied{name: "is away", protocol: protocol, down: true,
				want:     "the proxy <proxy> cannot be reached: correct " + variable + ", or " + direct,
				variable: variable})
	}
	return all
}

// childBehindProxy waits for the probe, records one span and prints the log.
func childBehindProxy(t *testing.T) {
	guard, console := inEnvironment(t, map[string]string{
		endpointVariable: os.Getenv(endpointVariable), protocolVariable: os.Getenv(protocolVariable),
		"OTEL_LOG_LEVEL": "debug", "OTEL_BSP_EXPORT_TIMEOUT": "2000",
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

// proxyTo starts a proxy that sends plain requests and tunnels for any host to one address.
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

// socksProxy starts a SOCKS5 proxy (RFC 1928, RFC 1929) that connects all its clients to one
// address.
func socksProxy(t *testing.T, target, credentials string, refuses bool) string {
	t.Helper()
	return accept(t, listen(t), func(near net.Conn) { go serveSOCKS(near, target, credentials, refuses) })
}

func serveSOCKS(near net.Conn, target, credentials string, refuses bool) {
	defer func() { _ = near.Close() }()
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(near, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	methods := read(int(read(2)[1]))
	method := byte(0) // no authentication
	if credentials != "" {
		method = 2
	}
	if !bytes.Contains(methods, []byte{method}) {
		_, _ = near.Write([]byte{5, 0xff})
		return
	}
	_, _ = near.Write([]byte{5, method})
	if method == 2 {
		user := read(int(read(2)[1]))
		password := read(int(read(1)[0]))
		status := byte(0)
		if string(user)+":"+string(password) != credentials {
			status = 1
		}
		_, _ = near.Write([]byte{1, status})
		if status != 0 {
			return
		}
	}
	request := read(5)
	if request[3] != 3 { // a name, which the proxy looks up
		return
	}
	host := string(read(int(request[4])))
	_ = read(2)
	reply := byte(0)
	if refuses || host != "collector.test" {
		reply = 2 // not allowed
	}
	_, _ = near.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
	if reply != 0 {
		return
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	go func() { _, _ = io.Copy(far, near) }()
	_, _ = io.Copy(near, far)
}
