//go:build unix

package credential_test

import (
	"context"
	"crypto/tls"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/credential"
)

// hang makes path a pipe without a writer: to open it takes as long as a file of a server that is
// gone. The end of the test ends that.
func hang(t *testing.T, path string) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	link := path + ".link"
	require.NoError(t, os.Link(pipe, link))
	require.NoError(t, os.Rename(link, path))
	t.Cleanup(func() {
		writer, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil { // else nothing reads
			_ = writer.Close()
		}
	})
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".next", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".next", path))
}

func TestTokenFileThatHangs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	hang(t, path)
	var trouble atomic.Int64
	token := credential.NewToken(path, &credential.Calls{}, func(err error) {
		trouble.Add(1)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "what was read before stays in use")
	})
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := token.Headers(ctx)
		cancel()
		require.ErrorContains(t, err, path+" has not returned after")
	}
	want := func(token string) map[string]string { return map[string]string{"authorization": "Bearer " + token} }
	replace(t, path, "one")
	headers, err := token.Headers(t.Context())
	require.NoError(t, err)
	require.Equal(t, want("one"), headers, "eight readings that hang do not keep the ninth from the file")

	hang(t, path)
	start := time.Now()
	for range 4 {
		headers, err = token.Headers(t.Context())
		require.NoError(t, err)
		require.Equal(t, want("one"), headers, "a file that hangs is one that cannot be read")
	}
	require.Less(t, time.Since(start), 4*time.Second, "it is waited for once")
	require.GreaterOrEqual(t, trouble.Load(), int64(4))
	replace(t, path, "two")
	require.Eventually(t, func() bool { // each reading has little time while others hang
		headers, err := token.Headers(t.Context())
		return err == nil && maps.Equal(want("two"), headers)
	}, 20*time.Second, time.Millisecond)
}

// A handshake reads files, too.
func TestCertificateFilesThatHang(t *testing.T) {
	certs := newCertificates(t)
	dir := t.TempDir()
	files := credential.Files{
		Authority: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"),
		Key: filepath.Join(dir, "key.pem"),
	}
	copyFile(t, certs.CAFile, files.Authority)
	copyFile(t, certs.ClientCertFile, files.Certificate)
	copyFile(t, certs.ClientKeyFile, files.Key)
	var calls credential.Calls
	client := credential.Renewing(&tls.Config{MinVersion: tls.VersionTLS12}, files, "localhost", &calls, func(error) {})
	require.NoError(t, handshake(t, certs.MutualServer, client, "localhost"))
	hang(t, files.Authority)
	hang(t, files.Key)
	require.NoError(t, handshake(t, certs.MutualServer, client, "localhost"), "with what was read before")
	require.Len(t, calls.Left(), 2)
}

func TestFileThatHangsAtTheStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	hang(t, path)
	_, err := credential.ReadFile(path)
	require.ErrorContains(t, err, path+" has not returned after")
}
