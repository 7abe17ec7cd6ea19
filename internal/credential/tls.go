package credential

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Files are the PEM files of a TLS client; each may be missing, certificate and key together.
type Files struct {
	Authority        string // whom to trust; "" means the system's roots
	Certificate, Key string // of this process
}

// Renewing returns base with certificates that follow their files: a new connection is made with what the files hold by
// then. host is the server's name or address. calls reads the files. onError hears of files that were good and are so no
// longer; it is called concurrently.
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
		// RootCAs is one pool for good. The verification that this turns off is done by VerifyConnection, with the pool of
		// the moment (crypto/tls, "Example (VerifyConnection)").
		c.RootCAs = nil
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(state tls.ConnectionState) error {
			pool, err := roots.get(context.Background()) // bounded by patience
			if err != nil {
				return err
			}
			return verify(state, pool, host)
		}
	}
	return c
}

// verify is what crypto/tls does by itself. It is told no name for a server that is dialled by its address, of which
// the protocol knows none.
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
