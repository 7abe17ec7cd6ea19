package otlptest_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func certificates(t *testing.T) *otlptest.Certificates {
	t.Helper()
	made, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return made
}

func TestTLS(t *testing.T) {
	certs := certificates(t)
	overEveryTransport(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t, otlptest.WithTLS(certs.Server))
		require.True(t, strings.HasPrefix(c.Endpoint(tr.protocol), "https://127.0.0.1:"))
		tr.tls = certs.ClientWithoutCert
		for _, signal := range signals {
			require.NoError(t, newExporters(t, c, tr).send(soon(t), signal, 3))
			require.Equal(t, 3, stored(c, signal))
		}
		require.Zero(t, c.PlaintextBytes())

		tr.tls = &tls.Config{RootCAs: x509.NewCertPool()}
		require.ErrorContains(t, newExporters(t, c, tr).send(soon(t), otlptest.Traces, 1), "certificate")
		require.Zero(t, c.PlaintextBytes())
	})
}

func TestMutualTLS(t *testing.T) {
	certs := certificates(t)
	forBothProtocols(t, func(t *testing.T, tr transport) {
		c := otlptest.New(t, otlptest.WithTLS(certs.MutualServer))
		tr.tls = certs.Client
		require.NoError(t, newExporters(t, c, tr).send(soon(t), otlptest.Traces, 1))
		tr.tls = certs.ClientWithoutCert
		require.Error(t, newExporters(t, c, tr).send(soon(t), otlptest.Traces, 1))
		require.Len(t, c.Spans(), 1)
		require.Len(t, c.Requests(), 1)
	})
}

func TestCertificateFilesMatchTheConfigurations(t *testing.T) {
	certs := certificates(t)
	pair, err := tls.LoadX509KeyPair(certs.ClientCertFile, certs.ClientKeyFile)
	require.NoError(t, err)
	ca, err := os.ReadFile(certs.CAFile)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	server, err := tls.LoadX509KeyPair(certs.ServerCertFile, certs.ServerKeyFile)
	require.NoError(t, err)

	c := otlptest.New(t, otlptest.WithTLS(&tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}))
	tr := transport{protocol: httpProtobuf, tls: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	require.NoError(t, newExporters(t, c, tr).send(soon(t), otlptest.Logs, 1))
}

func TestCutAndDownUnderTLS(t *testing.T) {
	certs := certificates(t)
	forBothProtocols(t, func(t *testing.T, tr transport) {
		tr.tls = certs.ClientWithoutCert
		c := otlptest.New(t, otlptest.WithTLS(certs.Server))
		c.SetFault(otlptest.Fault{Cut: true, Times: 1})
		exporters := newExporters(t, c, tr)
		require.Regexp(t, "EOF|reset", exporters.send(soon(t), otlptest.Traces, 1).Error())
		require.NoError(t, exporters.send(soon(t), otlptest.Traces, 1))
		require.NoError(t, c.Down())
		require.Error(t, exporters.send(soon(t), otlptest.Traces, 1))
		require.NoError(t, c.Up())
		require.NoError(t, newExporters(t, c, tr).send(soon(t), otlptest.Traces, 1))
	})
}

func TestPlaintextBytes(t *testing.T) {
	certs := certificates(t)
	forBothProtocols(t, func(t *testing.T, tr transport) {
		for name, tc := range map[string]struct {
			sent    string
			counted bool
		}{
			"nothing":   {"", false},
			"plaintext": {"POST /v1/traces HTTP/1.1\r\nHost: collector\r\n\r\n", true},
			"handshake": {"\x16\x03\x01\x00\x01\x00", false},
		} {
			t.Run(name, func(t *testing.T) {
				c := otlptest.New(t, otlptest.WithTLS(certs.Server))
				conn, err := net.Dial("tcp", strings.TrimPrefix(c.Endpoint(tr.protocol), "https://"))
				require.NoError(t, err)
				_, err = io.WriteString(conn, tc.sent)
				require.NoError(t, err)
				require.NoError(t, conn.(*net.TCPConn).CloseWrite())
				_, _ = io.Copy(io.Discard, conn) // until the server has closed its side
				require.NoError(t, conn.Close())
				require.Equal(t, tc.counted, c.PlaintextBytes() > 0)
				require.LessOrEqual(t, c.PlaintextBytes(), int64(len(tc.sent)))
			})
		}
	})

	c := otlptest.New(t)
	post(t, c.HTTPEndpoint()+"/v1/traces", "", nil)
	require.Zero(t, c.PlaintextBytes(), "without TLS plaintext is what is expected")
}

func TestTLSNeedsACertificate(t *testing.T) {
	_, err := otlptest.Start(otlptest.WithTLS(&tls.Config{}))
	require.ErrorContains(t, err, "no server certificate")
}
