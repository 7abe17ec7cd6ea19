package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// gatewayClient is the payment service's client for the gateway.
type gatewayClient struct {
	url  string
	base *http.Transport
	http *http.Client
}

func newGatewayClient(url string) *gatewayClient {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64 // the default of 2 opens new connections for most charges under load
	return &gatewayClient{
		url:  url,
		base: base,
		// Transport puts a client span around each request and the W3C trace context into its
		// headers.
		http: &http.Client{Transport: telemetry.Transport(base), Timeout: 5 * time.Second},
	}
}

// charge returns the id of the authorization, a declinedError, or an unavailableError.
func (c *gatewayClient) charge(ctx context.Context, p payment) (string, error) {
	body, err := json.Marshal(charge{Reference: p.ID, Cents: p.Cents, Currency: p.Currency, Card: p.Card})
	if err != nil {
		return "", fmt.Errorf("encode charge: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/charges", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("charge %s: %w", p.ID, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", unavailableError{err}
	}
	// The client span ends with the body, so read it to the end.
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return "", unavailableError{fmt.Errorf("read the answer: %w", err)}
	}
	var a authorization
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPaymentRequired:
		if err := json.Unmarshal(raw, &a); err != nil {
			return "", unavailableError{fmt.Errorf("understand the answer: %w", err)}
		}
	default:
		return "", unavailableError{fmt.Errorf("status %s", resp.Status)}
	}
	if a.Decline != "" {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("payment.decline_reason", a.Decline))
		return "", declinedError{a.Decline}
	}
	return a.ID, nil
}

func (c *gatewayClient) close() { c.base.CloseIdleConnections() }
