package diagnose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
)

// certificate is the certificate of a server, or nil if it is not known.
type certificate struct{ *x509.Certificate }

// maxNameParts is how many parts of a distinguished name are shown. [pkix.Name.String] takes
// quadratic time, and a server may present a name of 50,000 parts.
const maxNameParts = 20

func (c certificate) issuer() string {
	if c.Certificate == nil {
		return ""
	}
	if len(c.Issuer.Names) <= maxNameParts {
		return bounded(c.Issuer.String())
	}
	var first pkix.RDNSequence
	for _, part := range c.Issuer.Names[:maxNameParts] {
		first = append(first, pkix.RelativeDistinguishedNameSET{part})
	}
	var name pkix.Name
	name.FillFromRDNSequence(&first)
	return bounded(name.String() + "…")
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
		return lines.ValidFrom(c.NotBefore)
	default:
		return lines.ExpiredOn(c.NotAfter)
	}
}

// bounded makes a server's text short and safe enough for a part of a line.
func bounded(text string) string {
	const most = 120
	text = mask.Mask{}.Said(text)
	if runes := []rune(text); len(runes) > most {
		return strings.TrimSuffix(string(runes[:most]), "…") + "…"
	}
	return text
}

// handshake is the result of a TLS handshake with the target. The client accepts any certificate,
// presents none, and sends no data.
type handshake struct {
	ok        bool
	peer      certificate
	http2     bool // the server chose HTTP/2, which gRPC needs
	untrusted bool // the peer's authority is not one of the target's
	asks      bool // the server asks for a client certificate
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
			h.peer, h.untrusted = t.verify(state.PeerCertificates)
			return nil
		},
	})
	_ = client.HandshakeContext(ctx) // it may fail for lack of a client certificate; h has what was found until then
	return h
}

func (t Target) verify(chain []*x509.Certificate) (peer certificate, untrusted bool) {
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
