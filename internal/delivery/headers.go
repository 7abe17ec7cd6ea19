package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/fleetotel/telemetry/internal/contain"
)

// errNoCredentials is the error of an attempt without headers: nothing was sent.
var errNoCredentials = errors.New("no credentials")

// withHeaders makes one attempt with the current headers. An attempt that is refused for its
// credentials may be retried if they have been renewed since.
func (e *Endpoint) withHeaders(ctx context.Context, try func(current map[string]string) reply) reply {
	if e.cfg.Headers == nil {
		return try(nil)
	}
	current, err := e.headers(ctx)
	if err != nil {
		return reply{verdict: retry, err: fmt.Errorf("%w: %w", errNoCredentials, masked(err, nil))}
	}
	r := try(current)
	if r.verdict == misconfigured {
		if renewed, err := e.headers(ctx); err == nil && !maps.Equal(current, renewed) {
			r.verdict = retry
		}
	}
	return r
}

// headers returns the current headers, which may come from a service's own code.
func (e *Endpoint) headers(ctx context.Context) (current map[string]string, err error) {
	err = contain.Catch(func() (err error) {
		current, err = e.cfg.Headers(ctx)
		return err
	})
	return current, err
}

// secretValues returns the values of the current headers that must not be logged if a server
// repeats them.
func secretValues(current map[string]string) []string {
	headers := make(map[string][]string, len(current))
	for name, value := range current {
		headers[name] = []string{value}
	}
	return secretsOf(headers)
}
