// Package testenv lets telemetrytest hand Init an environment in place of the process's, so that
// what a developer or a CI machine has exported neither changes a service's test nor gets its data.
// It travels in the context, not in a variable, because tests run in parallel; and it is no option,
// because a service must not be able to overrule its operators.
package testenv

import (
	"context"
	"net/http"
)

type key struct{}

// With returns a context under which Init reads these variables and no others.
func With(ctx context.Context, variables map[string]string) context.Context {
	return context.WithValue(ctx, key{}, variables)
}

// From returns the variables of With; ok is false when the process's own apply. ctx may be nil, as
// Init's may.
func From(ctx context.Context) (variables map[string]string, ok bool) {
	if ctx == nil {
		return nil, false
	}
	variables, ok = ctx.Value(key{}).(map[string]string)
	return variables, ok
}

type transportKey struct{}

// WithTransport returns a context under which requests over HTTP go to transport in place of the
// network, below all that internal/delivery does: for tests of this repository in virtual time.
func WithTransport(ctx context.Context, transport http.RoundTripper) context.Context {
	return context.WithValue(ctx, transportKey{}, transport)
}

// Transport returns the transport of WithTransport, or nil.
func Transport(ctx context.Context) http.RoundTripper {
	transport, _ := ctx.Value(transportKey{}).(http.RoundTripper)
	return transport
}
