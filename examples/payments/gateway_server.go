package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// charge is the payment service's request, and authorization the gateway's answer: an id, or the
// reason for a refusal.
type (
	charge struct {
		Reference string `json:"reference"`
		Cents     int64  `json:"amount_cents"`
		Currency  string `json:"currency"`
		Card      string `json:"card"`
	}
	authorization struct {
		ID      string `json:"id,omitempty"`
		Decline string `json:"decline_reason,omitempty"`
	}
)

// tokDeclined is a card that the bank refuses, like the test cards of payment providers.
const tokDeclined = "tok_insufficient_funds"

// newGateway returns the payment provider, a separate service with its own listener and its own
// service.name. The payment service owns the globals in this process, so this one uses the guard
// for everything.
func newGateway(guard *telemetry.Guard, thinks time.Duration) http.Handler {
	log := guard.Logger()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) {
		var c charge
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&c); err != nil {
			log.WarnContext(r.Context(), "charge not understood", "error", err)
			answer(w, http.StatusBadRequest, authorization{Decline: "bad_request"})
			return
		}
		a, err := authorize(r.Context(), c, thinks)
		switch {
		case err != nil:
			log.ErrorContext(r.Context(), "bank did not answer", "reference", c.Reference, "error", err)
			answer(w, http.StatusServiceUnavailable, authorization{Decline: "bank_unavailable"})
		case a.Decline != "":
			log.InfoContext(r.Context(), "charge declined", "reference", c.Reference, "reason", a.Decline)
			answer(w, http.StatusPaymentRequired, a)
		default:
			log.InfoContext(r.Context(), "charge authorized", "reference", c.Reference, "authorization_id", a.ID)
			answer(w, http.StatusOK, a)
		}
	})
	// The caller's traceparent header makes the server span a child of the payment service's client
	// span.
	return telemetry.Handler(mux, telemetry.WithGuard(guard))
}

// authorize asks the bank. A declined card is a valid answer, not an error of the gateway. The span
// has it as an attribute.
func authorize(ctx context.Context, c charge, thinks time.Duration) (a authorization, err error) {
	err = telemetry.Do(ctx, "authorize_card", func(ctx context.Context) error {
		select {
		case <-time.After(thinks):
		case <-ctx.Done():
			return ctx.Err()
		}
		a.ID = "auth_" + rand.Text()[:10]
		if c.Card == tokDeclined {
			a = authorization{Decline: "insufficient_funds"}
		}
		trace.SpanFromContext(ctx).SetAttributes(attribute.Bool("card.authorized", a.Decline == ""))
		return nil
	})
	return a, err
}
