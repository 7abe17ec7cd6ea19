package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// ProxySettingError is the error of a connection whose proxy cannot be used. It
// repeats nothing of the setting, which may hold a password.
type ProxySettingError struct {
	Variable string // HTTP_PROXY or HTTPS_PROXY
	Cause    string
}

func (e *ProxySettingError) Error() string {
	return fmt.Sprintf("%s cannot be used: %s: %s", e.Variable, e.Cause, WantedProxy)
}

// WantedProxy is how a proxy is written.
const WantedProxy = "must be http://host:port, https://host:port or socks5://host:port"

// ProxyOf returns the proxy of requests to u, nil for the direct way, as
// [http.ProxyFromEnvironment] decides. Over gRPC, u is https in any case: it asks for
// a tunnel.
func ProxyOf(u *url.URL) (*url.URL, error) {
	variable := "HTTPS_PROXY"
	if u.Scheme == "http" {
		variable = "HTTP_PROXY"
	}
	p, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	switch {
	case err != nil:
		return nil, &ProxySettingError{variable, err.Error()} // that the environment is a CGI program's
	case p == nil:
		return nil, nil
	}
	switch p.Scheme {
	case "http", "https", "socks5", "socks5h":
		return p, nil
	}
	return nil, &ProxySettingError{variable, "its scheme is not one for proxies"}
}

// socksDialer is a dialer as package proxy wants it.
type socksDialer struct{ *dialer }

func (d socksDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(context.Background(), network, address)
}

func (d socksDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dial(ctx, network, address)
}

// socks connects through a SOCKS5 proxy, which looks the name up, as over HTTP.
func (d *dialer) socks(ctx context.Context, p *url.URL, address string) (net.Conn, error) {
	var auth *proxy.Auth
	if p.User != nil {
		password, _ := p.User.Password()
		auth = &proxy.Auth{User: p.User.Username(), Password: password}
	}
	through, err := proxy.SOCKS5("tcp", hostPortOf(p, "1080"), auth, socksDialer{d})
	if err != nil {
		return nil, err
	}
	dial, ok := through.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the SOCKS dialer knows no context")
	}
	return dial.DialContext(ctx, "tcp", address)
}

func hostPortOf(p *url.URL, port string) string {
	return net.JoinHostPort(p.Hostname(), cmp.Or(p.Port(), port))
}
