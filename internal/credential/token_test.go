package credential_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/credential"
)

func TestToken(t *testing.T) {
	for name, tc := range map[string]struct{ content, token, problem string }{
		"plain":           {content: "abc.def-ghi", token: "abc.def-ghi"},
		"line end":        {content: " abc\r\n", token: "abc"},
		"empty":           {content: " \n", problem: "is empty"},
		"two":             {content: "s3cr3t\ns3cr3t", problem: "expected one token"},
		"control":         {content: "s3cr3t\x00", problem: "expected one token"},
		"not ASCII":       {content: "s3cr3tö", problem: "expected one token"},
		"at the bound":    {content: strings.Repeat("a", 4<<20), token: strings.Repeat("a", 4<<20)},
		"past the bound":  {content: strings.Repeat("a", 4<<20+1), problem: "more than 4194304 bytes"},
		"there is no one": {problem: "the token file: open "},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			if tc.content != "" {
				require.NoError(t, os.WriteFile(path, []byte(tc.content), 0o600))
			}
			headers, err := credential.NewToken(path, &credential.Calls{}, unexpected(t)).Headers(t.Context())
			if tc.problem != "" {
				require.ErrorContains(t, err, tc.problem)
				require.ErrorContains(t, err, path)
				require.NotContains(t, err.Error(), "s3cr3t")
				return
			}
			require.NoError(t, err)
			require.Equal(t, map[string]string{"authorization": "Bearer " + tc.token}, headers)
		})
	}
}

// The kubelet renews a token by swapping a link, while requests go on.
func TestTokenIsRenewedUnderConcurrentRequests(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	path := filepath.Join(dir, "token")
	require.NoError(t, os.Symlink("one", path))
	token := credential.NewToken(path, &credential.Calls{}, unexpected(t))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				headers, err := token.Headers(t.Context())
				if err != nil || headers["authorization"] != "Bearer one" && headers["authorization"] != "Bearer two" {
					t.Errorf("%v, %v", headers, err)
					return
				}
			}
		})
	}
	for range 50 {
		for _, name := range []string{"two", "one"} {
			next := filepath.Join(dir, "next")
			require.NoError(t, os.Symlink(name, next))
			require.NoError(t, os.Rename(next, path))
		}
	}
	close(stop)
	wg.Wait()
}
