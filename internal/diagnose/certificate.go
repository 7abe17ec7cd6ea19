package diagnose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/mask"
)

// certificate is the one that a server presents; nil if it is not known.
type certificate struct{ *x509.Certificate }

func (c certificate) issuer() string {
	if c.Certificate == nil || c.Issuer.String() == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", bounded(c.Issuer.String()))
}

func (c certificate) names() string {
	if c.Certificate == nil {
		return ""
	}
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return bounded(strings.Join(names, ", "))
}

func (c certificate) period() string {
	switch now := time.Now(); {
	case c.Certificate == nil:
		return ""
	case now.Before(c.NotBefore):
		return " (it begins on " + c.NotBefore.UTC().Format(time.DateTime) + " UTC)"
	default:
		return " (it ended on " + c.NotAfter.UTC().Format(time.DateTime) + " UTC)"
	}
}

// bounded makes what a server has chosen fit for a part of a line.
func bounded(text string) string {
	const most = 120
	text = mask.Mask{}.Said(text)
	if runes := []rune(text); len(runes) > most {
		return strings.TrimSuffix(string(runes[:most]), "…") + "…"
	}
	return text
}

// handshake is what a TLS handshake with the target shows. Nothing is sent after it, no certificate of ours either, and
// it succeeds whatever certificate the server presents.
type handshake struct {
	ok        bool
	peer      certificate
	http2     bool // the server has chosen it; gRPC is nothing without
	untrusted bool // by the authorities of the target's configuration
	asks      bool // for a certificate of ours
}

func (t Target) handshake(ctx context.Context) (h handshake) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return h
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{
		ServerName: t.serverName(), NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // to look at the certificate; no request follows
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.asks = true
			return &tls.Certificate{}, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			h.ok, h.http2 = true, state.NegotiatedProtocol == "h2"
			h.peer, h.untrusted = t.judge(state.PeerCertificates)
			return nil
		},
	})
	_ = client.HandshakeContext(ctx) // what it has shown by then counts, also when it wants a certificate of ours
	return h
}

func (t Target) judge(chain []*x509.Certificate) (peer certificate, untrusted bool) {
	if len(chain) == 0 {
		return peer, false
	}
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
	if t.TLS != nil {
		options.Roots = t.TLS.RootCAs
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	unknown := x509.UnknownAuthorityError{}
	return certificate{chain[0]}, errors.As(err, &unknown)
}

func (t Target) serverName() string {
	if t.TLS != nil && t.TLS.ServerName != "" {
		return t.TLS.ServerName
	}
	return t.URL.Hostname()
}
