package otlptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates is a small public-key infrastructure for tests: a certification authority, and one
// certificate each for a server at 127.0.0.1, ::1 or localhost and for a client. The files are PEM.
type Certificates struct {
	CAFile                        string
	ServerCertFile, ServerKeyFile string
	ClientCertFile, ClientKeyFile string
	Server                        *tls.Config // for WithTLS: any client may connect
	ExpiredServer                 *tls.Config // for WithTLS: its certificate ended an hour ago
	OtherServer                   *tls.Config // for WithTLS: its certificate is for collector.test alone
	// for WithTLS: only a client with a certificate of the authority may connect
	MutualServer      *tls.Config
	Client            *tls.Config // trusts the authority and presents the client's certificate
	ClientWithoutCert *tls.Config // trusts the authority and presents nothing
}

// TestCertificates creates new certificates, valid for a day, and writes their files into an
// existing directory.
func TestCertificates(dir string) (*Certificates, error) {
	file := func(name string) string { return filepath.Join(dir, name) }
	c := &Certificates{
		CAFile:         file("ca.pem"),
		ServerCertFile: file("server.pem"), ServerKeyFile: file("server-key.pem"),
		ClientCertFile: file("client.pem"), ClientKeyFile: file("client-key.pem"),
	}
	ca, err := issue(nil, &x509.Certificate{
		Subject:  pkix.Name{CommonName: "otlptest authority"},
		IsCA:     true,
		KeyUsage: x509.KeyUsageCertSign,
	})
	if err != nil {
		return nil, err
	}
	server, err := issue(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "otlptest server"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
	if err != nil {
		return nil, err
	}
	expired, err := issue(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "otlptest expired server"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   time.Now().Add(-24 * time.Hour),
		NotAfter:    time.Now().Add(-time.Hour),
	})
	if err != nil {
		return nil, err
	}
	other, err := issue(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "otlptest other server"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"collector.test"},
	})
	if err != nil {
		return nil, err
	}
	client, err := issue(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "otlptest client"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		c.CAFile:         ca.certPEM,
		c.ServerCertFile: server.certPEM, c.ServerKeyFile: server.keyPEM,
		c.ClientCertFile: client.certPEM, c.ClientKeyFile: client.keyPEM,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return nil, fmt.Errorf("otlptest: certificates: %w", err)
		}
	}
	authority := x509.NewCertPool()
	authority.AddCert(ca.Leaf)
	c.Server = &tls.Config{Certificates: []tls.Certificate{server.Certificate}, MinVersion: tls.VersionTLS12}
	c.ExpiredServer = &tls.Config{Certificates: []tls.Certificate{expired.Certificate}, MinVersion: tls.VersionTLS12}
	c.OtherServer = &tls.Config{Certificates: []tls.Certificate{other.Certificate}, MinVersion: tls.VersionTLS12}
	c.MutualServer = c.Server.Clone()
	c.MutualServer.ClientAuth, c.MutualServer.ClientCAs = tls.RequireAndVerifyClientCert, authority
	c.ClientWithoutCert = &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12}
	c.Client = c.ClientWithoutCert.Clone()
	c.Client.Certificates = []tls.Certificate{client.Certificate}
	return c, nil
}

// issued is a certificate with its key, ready for use and as files.
type issued struct {
	tls.Certificate
	certPEM, keyPEM []byte
}

// issue completes the template and signs it with the authority's key, or with its own if there is
// no authority yet.
func issue(authority *issued, template *x509.Certificate) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("otlptest: certificates: %w", err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour) // clocks differ
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	template.BasicConstraintsValid = true
	parent, signer := template, any(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("otlptest: certificates: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("otlptest: certificates: %w", err)
	}
	made := &issued{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	// X509KeyPair also sets the leaf.
	if made.Certificate, err = tls.X509KeyPair(made.certPEM, made.keyPEM); err != nil {
		return nil, fmt.Errorf("otlptest: certificates: %w", err)
	}
	return made, nil
}
