package otlp

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"strings"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/credential"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/redact"
	"github.com/fleetotel/telemetry/internal/settings"
)

// headers returns the function that returns the current headers, or nil if all headers are fixed.
func (c *Connections) headers(source settings.HeaderSource) func(context.Context) (map[string]string, error) {
	var token func(context.Context) (map[string]string, error)
	if source.TokenFile != "" {
		token = credential.NewToken(source.TokenFile, &c.calls, c.credentialTrouble).Headers
	}
	switch {
	case source.Function == nil:
		return token
	case token == nil:
		return c.timely(source.Function)
	}
	given := c.timely(source.Function)
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

// timely returns a function that stops waiting for the service's function when its context ends,
// which is when the time of the attempt is over.
func (c *Connections) timely(function *settings.HeaderFunc) settings.HeaderFunc {
	given := validated(*function)
	return func(ctx context.Context) (map[string]string, error) {
		return credential.Do(ctx, &c.calls, function, "the function of WithHeaderFunc", given)
	}
}

// validated returns a function that reports a header that cannot be sent, by its name, before the
// header breaks the connection. It also redacts the error of the service's function: the error is
// logged, and that of a token source may quote the URL of its request, with the client's secret in
// it, or the answer.
func validated(function settings.HeaderFunc) settings.HeaderFunc {
	secrets := redact.New(redact.Config{})
	return func(ctx context.Context) (map[string]string, error) {
		given, err := called(ctx, function)
		if err != nil {
			text, _ := secrets.Text(err.Error())
			return nil, &headerFuncError{"WithHeaderFunc: " + text, err}
		}
		headers := make(map[string]string, len(given))
		for name, value := range given {
			if err := settings.ValidHeader(name, value); err != nil {
				return nil, fmt.Errorf("WithHeaderFunc: header %q: %w", name, err)
			}
			headers[strings.ToLower(name)] = value
		}
		return headers, nil
	}
}

func called(ctx context.Context, function settings.HeaderFunc) (headers map[string]string, err error) {
	err = contain.Catch(func() error { headers, err = function(ctx); return err })
	return headers, err
}

// headerFuncError has the text that may be logged. It unwraps to the error that it is about.
type headerFuncError struct {
	text  string
	cause error
}

func (e *headerFuncError) Error() string { return e.text }
func (e *headerFuncError) Unwrap() error { return e.cause }

// tls returns the TLS configuration of a signal's connection. Certificates from files are read
// again when the files change.
func (c *Connections) tls(s settings.SignalConfig) *tls.Config {
	if s.TLSSource.Given != nil {
		return s.TLS.Clone()
	}
	files := credential.Files{
		Authority:   s.TLSSource.Certificate,
		Certificate: s.TLSSource.ClientCertificate,
		Key:         s.TLSSource.ClientKey,
	}
	return credential.Renewing(s.TLS, files, settings.WithoutZone(s.Target.URL.Hostname()), &c.calls,
		c.credentialTrouble)
}

func (c *Connections) credentialTrouble(err error) {
	c.selfLog.Say(lines.CredentialsNotRenewed(err))
}
