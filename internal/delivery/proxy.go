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

// proxySettingError is the error of a connection whose proxy cannot be used. It does not repeat the
// value of the variable, which may contain a password.
func proxySettingError(variable, cause string) error {
	return fmt.Errorf("%s cannot be used: %s: %s", variable, cause, WantedProxy)
}

// WantedProxy says what a proxy setting must look like.
const WantedProxy = "must be http://host:port, https://host:port or socks5://host:port"

// ProxyOf returns the proxy for requests to u, as [http.ProxyFromEnvironment] chooses it, or nil if
// they go directly. Over gRPC, u is always https, because gRPC asks the proxy
// for a tunnel.
func ProxyOf(u *url.URL) (*url.URL, error) {
	variable := "HTTPS_PROXY"
	if u.Scheme == "http" {
		variable = "HTTP_PROXY"
	}
	p, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	switch {
	case err != nil:
		return nil, proxySettingError(variable, err.Error()) // the environment is that of a CGI program
	case p == nil:
		return nil, nil
	}
	switch p.Scheme {
	case "http", "https", "socks5", "socks5h":
		return p, nil
	}
	return nil, proxySettingError(variable, "its scheme is not one for proxies")
}

// socksDialer is a dialer with the interfaces of package proxy.
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
		return nil, errors.New("the SOCKS dialer does not support contexts")
	}
	return dial.DialContext(ctx, "tcp", address)
}

func hostPortOf(p *url.URL, port string) string {
	return net.JoinHostPort(p.Hostname(), cmp.Or(p.Port(), port))
}
