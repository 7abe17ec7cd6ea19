package telemetry_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// TestProxiesOfOtherKinds delivers through proxies that are not HTTP's over both protocols, and says what is wrong with
// one: each child records a span at http://collector.test:4318, which only the proxy knows.
func TestProxiesOfOtherKinds(t *testing.T) {
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
		const direct = "add collector.test to NO_PROXY to go there directly"
		all = append(all,
			behind{name: "socks5", protocol: protocol, setting: "socks5://<proxy>"},
			behind{name: "socks5h with credentials", protocol: protocol, credentials: "mary:pw42pw42", setting: "socks5h://mary:pw42pw42@<proxy>"},
			behind{name: "credentials missing", protocol: protocol, credentials: "mary:pw42pw42", setting: "socks5://<proxy>",
				says: "the proxy <proxy> requires credentials: put them into " + variable + " as socks5://<user>:<password>@<proxy>, or " + direct},
			behind{name: "credentials wrong", protocol: protocol, credentials: "mary:other", setting: "socks5://mary:pw42pw42@<proxy>",
				says: "the proxy <proxy> requires credentials: put them into " + variable + " as socks5://<user>:<password>@<proxy>, or " + direct},
			behind{name: "refuses", protocol: protocol, refuses: true, setting: "socks5://<proxy>",
				says: "the proxy <proxy> (" + variable + ") does not get through to collector.test:4318: " + direct + ", or allow it in the proxy"},
			behind{name: "down", protocol: protocol, down: true, setting: "socks5://<proxy>",
				says: "the proxy <proxy> cannot be reached: correct " + variable + ", or " + direct},
			behind{name: "another scheme", protocol: protocol, setting: "socks4://mary:pw42pw42@<proxy>",
				says: variable + " cannot be used: it must be http://host:port, https://host:port or socks5://host:port, or " + direct})
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
		output := runTest(t, "TestProxiesOfOtherKinds", variable+strings.ReplaceAll(b.setting, "<proxy>", proxy),
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+b.protocol)
		for _, secret := range []string{"pw42pw42", base64.StdEncoding.EncodeToString([]byte("mary:pw42pw42"))} {
			require.NotContains(t, output, secret)
		}
		if b.says == "" {
			require.NotContains(t, output, "SAID telemetry: traces, metrics")
			require.Equal(t, []string{"x"}, spanNames(collector), output)
			return
		}
		require.Contains(t, output, "SAID telemetry: traces, metrics and logs: "+strings.ReplaceAll(b.says, "<proxy>", proxy)+"\n")
		require.Empty(t, collector.Spans())
	})
}

// TestProxyBehindTLS asks a proxy for a tunnel within TLS.
func TestProxyBehindTLS(t *testing.T) {
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
		output := runTest(t, "TestProxyBehindTLS", variable+"https://mary:pw42pw42@"+server.Listener.Addr().String(), "SSL_CERT_FILE="+certs.CAFile,
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+protocol)
		require.Equal(t, []string{"x"}, spanNames(collector), output)
		require.NotContains(t, output, "pw42pw42")
		output = runTest(t, "TestProxyBehindTLS", variable+"https://"+server.Listener.Addr().String(), "SSL_CERT_FILE="+certs.CAFile+".none",
			endpointVariable+"=http://collector.test:4318", protocolVariable+"="+protocol)
		require.Contains(t, output, "SAID telemetry: traces, metrics and logs: the proxy "+server.Listener.Addr().String()+" cannot be reached", "its certificate is not the collector's")
	}
}

// socksProxy starts a SOCKS5 proxy (RFC 1928, RFC 1929) that connects all its clients to one address.
func socksProxy(t *testing.T, target, credentials string, refuses bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go serveSOCKS(near, target, credentials, refuses)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
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
