package telemetry

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"strings"

	"github.com/fleetotel/telemetry/internal/credential"
	"github.com/fleetotel/telemetry/internal/redact"
)

// headerSource tells whether two signals get their renewed headers from the same place and may share a connection.
type headerSource struct {
	tokenFile string
	function  *headerFunc
}

func (s signalConfig) headerSource() headerSource {
	return headerSource{strings.TrimSpace(s.tokenFile.value), s.headerFunc}
}

// headers returns what asks for the headers of the moment, or nil if all headers are fixed.
func (c *connections) headers(source headerSource) func(context.Context) (map[string]string, error) {
	var token func(context.Context) (map[string]string, error)
	if source.tokenFile != "" {
		token = credential.NewToken(source.tokenFile, &c.calls, c.credentialTrouble).Headers
	}
	switch {
	case source.function == nil:
		return token
	case token == nil:
		return c.timely(source.function)
	}
	given := c.timely(source.function)
	return func(ctx context.Context) (map[string]string, error) {
		headers, err := token(ctx)
		if err != nil {
			return nil, err
		}
		more, err := given(ctx)
		maps.Copy(headers, more)
		return headers, err
	}
}

// timely ends the wait for a function with its context, which has the time of the attempt.
func (c *connections) timely(function *headerFunc) headerFunc {
	given := validated(*function)
	return func(ctx context.Context) (map[string]string, error) {
		return credential.Do(ctx, &c.calls, function, "the function of WithHeaderFunc", given)
	}
}

// validated keeps a header that cannot be sent from costing the connection, and names the one. What goes wrong is logged,
// and the error of a token's source quotes its request: the URL with the client's secret in it, or the answer.
func validated(function headerFunc) headerFunc {
	secrets := redact.New(redact.Config{})
	return func(ctx context.Context) (map[string]string, error) {
		given, err := called(ctx, function)
		if err != nil {
			text, _ := secrets.Text(err.Error())
			return nil, &headerFuncError{"WithHeaderFunc: " + text, err}
		}
		headers := make(map[string]string, len(given))
		for name, value := range given {
			if err := validHeader(name, value); err != nil {
				return nil, fmt.Errorf("WithHeaderFunc: header %q: %w", name, err)
			}
			headers[strings.ToLower(name)] = value
		}
		return headers, nil
	}
}

func called(ctx context.Context, function headerFunc) (headers map[string]string, err error) {
	if p := panicOf(func() { headers, err = function(ctx) }); p != nil {
		return nil, fmt.Errorf("panic: %v", p)
	}
	return headers, err
}

// headerFuncError has the text that may be logged. It unwraps to the error that it is about.
type headerFuncError struct {
	text  string
	cause error
}

func (e *headerFuncError) Error() string { return e.text }
func (e *headerFuncError) Unwrap() error { return e.cause }

// tls returns the TLS configuration of a signal's connection; certificates from files follow their files.
func (c *connections) tls(s signalConfig) *tls.Config {
	if s.tlsSource.given != nil {
		return s.tls.Clone()
	}
	files := credential.Files{
		Authority:   s.tlsSource.certificate,
		Certificate: s.tlsSource.clientCertificate,
		Key:         s.tlsSource.clientKey,
	}
	return credential.Renewing(s.tls, files, withoutZone(s.target.url.Hostname()), &c.calls, c.credentialTrouble)
}

func (c *connections) credentialTrouble(err error) {
	c.selfLog.Say(slog.LevelWarn, fmt.Sprintf("credentials were not renewed: %v", err))
}

// warnPlainToken speaks of a secret that anybody on the way can read.
func (r *resolution) warnPlainToken(s signal, sc *signalConfig) {
	if sc.headerSource() == (headerSource{}) || sc.target.url == nil || sc.target.secure() || isLoopback(sc.target.url.Hostname()) {
		return
	}
	r.notice(fmt.Sprintf("%s goes over http://, so the token of %s can be read on its way: use https://", sc.endpoint.origin, s))
}
