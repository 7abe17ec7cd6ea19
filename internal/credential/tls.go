package credential

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Files are the PEM files of a TLS client; each may be missing, certificate and key together.
type Files struct {
	Authority        string // the CA certificates to trust; "" means the system's roots
	Certificate, Key string // the client certificate of this process
}

// Renewing returns base with certificates that follow their files: each new connection uses what
// the files hold at that moment. host is the server's name or address. calls reads the files.
// onError is called, concurrently, with the error of files that were good before.
func Renewing(base *tls.Config, files Files, host string, calls *Calls, onError func(error)) *tls.Config {
	c := base.Clone()
	if files.Certificate != "" {
		pair := renewed[*tls.Certificate]{
			paths:   []string{files.Certificate, files.Key},
			onError: onError,
			calls:   calls,
			parse: func(pem [][]byte) (*tls.Certificate, error) {
				pair, err := tls.X509KeyPair(pem[0], pem[1])
				if err != nil {
					return nil, fmt.Errorf("%s and %s are not a pair: %w", files.Certificate, files.Key, err)
				}
				return &pair, nil
			},
		}
		c.Certificates = nil
		c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return pair.get(info.Context())
		}
	}
	if files.Authority != "" {
		roots := renewed[*x509.CertPool]{
			paths:   []string{files.Authority},
			onError: onError,
			calls:   calls,
			parse: func(pem [][]byte) (*x509.CertPool, error) {
				pool := x509.NewCertPool()
				if !pool.AppendCertsFromPEM(pem[0]) {
					return nil, fmt.Errorf("no certificate in %s", files.Authority)
				}
				return pool, nil
			},
		}
		// RootCAs is a fixed pool. VerifyConnection does the verification that InsecureSkipVerify
		// turns off, with the current pool (crypto/tls, "Example (VerifyConnection)").
		c.RootCAs = nil
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(state tls.ConnectionState) error {
			pool, err := roots.get(context.Background()) // bounded by firstReadTimeout
			if err != nil {
				return err
			}
			return verify(state, pool, host)
		}
	}
	return c
}

// verify does what crypto/tls does by itself. The state has no name if the server is dialed by its
// address, because the protocol has no names for addresses.
func verify(state tls.ConnectionState, roots *x509.CertPool, host string) error {
	name := state.ServerName
	if name == "" {
		name = host
	}
	options := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, certificate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}
