package credential_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/credential"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

func newCertificates(t *testing.T) *otlptest.Certificates {
	t.Helper()
	certs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	return certs
}

// handshake is one connection, and the client's error.
func handshake(t *testing.T, server, client *tls.Config, name string) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if tls.Server(conn, server).Handshake() == nil {
			_, _ = conn.Read(make([]byte, 1)) // until the client has read the server's verdict and left
		}
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	client = client.Clone()
	client.ServerName = name
	conn := tls.Client(raw, client)
	err = conn.Handshake()
	require.NoError(t, raw.Close())
	<-done
	return err
}

func unexpected(t *testing.T) func(error) {
	return func(err error) { t.Errorf("trouble: %v", err) }
}

// The verification is ours as soon as the authority comes from a file: it has to refuse what
// crypto/tls refuses.
func TestServersAreVerified(t *testing.T) {
	ours, theirs := newCertificates(t), newCertificates(t)
	for name, tc := range map[string]struct {
		server  *tls.Config
		host    string
		refused string
	}{
		"its name":         {server: ours.Server, host: "localhost"},
		"its address":      {server: ours.Server, host: "127.0.0.1"},
		"its IPv6 address": {server: ours.Server, host: "::1"},
		"another name": {server: ours.Server, host: "collector.example",
			refused: "valid for localhost, not collector.example"},
		"another address": {server: ours.Server, host: "127.0.0.2",
			refused: "valid for 127.0.0.1, ::1, not 127.0.0.2"},
		"unknown authority": {server: theirs.Server, host: "localhost", refused: "unknown authority"},
		"client certificate": {server: withKeyPair(t, ours.ClientCertFile, ours.ClientKeyFile), host: "localhost",
			refused: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			client := credential.Renewing(&tls.Config{MinVersion: tls.VersionTLS12},
				credential.Files{Authority: ours.CAFile}, tc.host, &credential.Calls{}, unexpected(t))
			err := handshake(t, tc.server, client, tc.host)
			if tc.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.refused)
			var verification *tls.CertificateVerificationError
			require.True(t, errors.As(err, &verification), "the error is of the type that crypto/tls has for it")
		})
	}
}

func withKeyPair(t *testing.T, cert, key string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func TestWithoutAnAuthorityTheSystemDecides(t *testing.T) {
	certs := newCertificates(t)
	base := &tls.Config{MinVersion: tls.VersionTLS12}
	client := credential.Renewing(base, credential.Files{}, "localhost", &credential.Calls{}, unexpected(t))
	require.False(t, client.InsecureSkipVerify)
	require.NotSame(t, base, client)
	require.ErrorContains(t, handshake(t, certs.Server, client, "localhost"), "unknown authority")
}

func TestFilesThatAreNoLongerGoodLeaveWhatWasRead(t *testing.T) {
	certs := newCertificates(t)
	dir := t.TempDir()
	files := credential.Files{Authority: filepath.Join(dir, "ca"), Certificate: filepath.Join(dir, "cert"),
		Key: filepath.Join(dir, "key")}
	copyFile(t, certs.CAFile, files.Authority)
	copyFile(t, certs.ClientCertFile, files.Certificate)
	copyFile(t, certs.ClientKeyFile, files.Key)
	var trouble []string
	client := credential.Renewing(certs.Client, files, "localhost", &credential.Calls{},
		func(err error) { trouble = append(trouble, err.Error()) })
	require.NoError(t, handshake(t, certs.MutualServer, client, "localhost"))
	require.Empty(t, trouble)

	require.NoError(t, os.WriteFile(files.Authority, []byte("half a certificate"), 0o600))
	copyFile(t, certs.ServerKeyFile, files.Key)
	require.NoError(t, handshake(t, certs.MutualServer, client, "localhost"))
	require.Len(t, trouble, 2)
	require.Contains(t, trouble[0]+trouble[1], "no certificate in "+files.Authority)
	require.Contains(t, trouble[0]+trouble[1], "are not a pair")

	require.NoError(t, os.Remove(files.Authority))
	require.NoError(t, handshake(t, certs.MutualServer, client, "localhost"))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}
