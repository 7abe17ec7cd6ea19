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

// dialGRPC connects to an address, through the proxy that the environment names for it. gRPC's own
// code for proxies has no bounds: a proxy that does not answer CONNECT keeps the connection from
// ever being tried again, and the whole body of a refusal is read.
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
			return nil, fmt.Errorf("proxyconnect tcp: %w", err) // as net/http puts it
		}
		conn = secured
	}
	tunnel, err := through(ctx, conn, proxy.User, address)
	if err != nil {
		_ = conn.Close()
	}
	return tunnel, err
}

// through asks the proxy at the other end of conn for a tunnel to an address, within the time of
// ctx.
func through(ctx context.Context, conn net.Conn, user *url.Userinfo, address string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: address},
		Header: http.Header{"User-Agent": {"grpc-go"}}}
	if user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
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
		// gRPC keeps only the text of an error, so this is gRPC's own text.
		return nil, fmt.Errorf("failed to do connect handshake, response: %q",
			fmt.Sprintf("%s %d %s", resp.Proto, resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	head.N = math.MaxInt64
	return tunneled{conn, from}, nil
}

// tunneled is a connection of which a reader may hold the first bytes: without TLS the collector
// writes first.
type tunneled struct {
	net.Conn
	from io.Reader
}

func (t tunneled) Read(p []byte) (int, error) { return t.from.Read(p) }
