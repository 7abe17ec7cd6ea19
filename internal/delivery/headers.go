package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/fleetotel/telemetry/internal/logs"
)

// errNoCredentials is the error of an attempt for which there are no headers: nothing was sent.
var errNoCredentials = errors.New("no credentials")

// withHeaders makes one attempt with the headers of the moment. An attempt that is refused for its credentials is worth
// another one when they have been renewed since.
func (e *Endpoint) withHeaders(ctx context.Context, try func(current map[string]string) reply) reply {
	if e.cfg.Headers == nil {
		return try(nil)
	}
	current, err := e.headers(ctx)
	if err != nil {
		return reply{verdict: retry, err: fmt.Errorf("%w: %w", errNoCredentials, masked(err, nil))}
	}
	r := try(current)
	if r.verdict == refused && r.place {
		if renewed, err := e.headers(ctx); err == nil && !maps.Equal(current, renewed) {
			r.verdict, r.place = retry, false
		}
	}
	return r
}

// headers asks for the headers of the moment. Who provides them may be a service's own code.
func (e *Endpoint) headers(ctx context.Context) (current map[string]string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", logs.Text(p))
		}
	}()
	return e.cfg.Headers(ctx)
}

// secretValues is what a server must not make us log of the headers of the moment.
func secretValues(current map[string]string) []string {
	headers := make(map[string][]string, len(current))
	for name, value := range current {
		headers[name] = []string{value}
	}
	return secretsOf(headers)
}
