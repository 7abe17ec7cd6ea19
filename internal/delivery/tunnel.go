package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"
)

// dialGRPC connects to an address, through the proxy that the environment names for it. gRPC's own way through a proxy
// has no end: one that does not answer CONNECT keeps the connection from ever being tried again, and the body of one
// that refuses is read whole.
func (d *dialer) dialGRPC(ctx context.Context, address string) (net.Conn, error) {
	proxy, err := ProxyOf(&url.URL{Scheme: "https", Host: address})
	switch {
	case err != nil:
		return nil, err
	case proxy == nil:
		return d.dial(ctx, "tcp", address)
	case proxy.Scheme == "socks5" || proxy.Scheme == "socks5h":
		return d.socks(ctx, proxy, address)
	}
	port := "80"
	if proxy.Scheme == "https" {
		port = "443"
	}
	conn, err := d.dial(ctx, "tcp", hostPortOf(proxy, port))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		secured := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("proxyconnect tcp: %w", err) // net/http's words
		}
		conn = secured
	}
	tunnel, err := through(ctx, conn, proxy.User, address)
	if err != nil {
		_ = conn.Close()
	}
	return tunnel, err
}

// through asks the proxy at the other end of conn for a tunnel to an address, within the time of ctx.
func through(ctx context.Context, conn net.Conn, user *url.Userinfo, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address}, Header: http.Header{"User-Agent": {"grpc-go"}}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("failed to write the HTTP request: %w", err)
	}
	head := &io.LimitedReader{R: conn, N: MaxResponseHeader}
	from := bufio.NewReader(head)
	resp, err := http.ReadResponse(from, req)
	if err != nil {
		return nil, fmt.Errorf("reading server HTTP response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		// gRPC's words, which is all that it keeps of an error.
		return nil, fmt.Errorf("failed to do connect handshake, response: %q", fmt.Sprintf("%s %d %s", resp.Proto, resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	head.N = math.MaxInt64
	return tunnelled{conn, from}, nil
}

// tunnelled is a connection of which a reader may hold a part: over plaintext the collector speaks first.
type tunnelled struct {
	net.Conn
	from io.Reader
}

func (t tunnelled) Read(p []byte) (int, error) { return t.from.Read(p) }
