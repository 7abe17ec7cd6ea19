package delivery

import (
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server chooses the names in its certificate, and a name server its words. What they are stays
// known.
func TestConnectionErrorsAreBoundedAndMasked(t *testing.T) {
	const secret = "s3cr3t-value"
	names := make([]string, 90) // of more, crypto/x509 names none
	for i := range names {
		names[i] = secret + "\x1b[31m.example"
	}
	for name, err := range map[string]error{
		"certificate": &url.Error{Op: "Post", URL: "https://c",
			Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: names}, Host: "c"}},
		"DNS":          &net.DNSError{Err: strings.Join(names, " "), Name: "c", IsNotFound: true},
		"another text": errors.New(strings.Join(names, "\n")),
	} {
		r := connectionReply(t.Context(), err, []string{secret}, time.Second)
		require.NotContains(t, r.err.Error(), secret, name)
		require.NotContains(t, r.err.Error(), "\x1b", name)
		require.LessOrEqual(t, len(r.err.Error()), 603, name)
		require.ErrorIs(t, r.err, err, name)
		require.NoError(t, errors.Unwrap(r.err), name)
	}
	certificate := x509.HostnameError{Certificate: &x509.Certificate{DNSNames: names}, Host: "c"}
	require.True(t, isSetupError(masked(certificate, nil)))
	require.True(t, noListener(masked(&net.DNSError{Err: strings.Join(names, " "), IsNotFound: true}, nil)))
}
