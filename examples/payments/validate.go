package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// maxBody bounds the body of a request; a payment needs some hundred bytes.
const maxBody = 16 << 10

// maxAmount is the most one payment may be worth.
const maxAmount = 1_000_000

// An outcome is how an order ended: the attribute of orders.total, so there are few of them.
type outcome string

const (
	outcomePaid        outcome = "paid"
	outcomeInvalid     outcome = "invalid"     // 400: the request makes no sense
	outcomeDeclined    outcome = "declined"    // 402: the bank said no
	outcomeUnavailable outcome = "unavailable" // 502: the gateway did not answer
	outcomeFailed      outcome = "failed"      // 500: anything else
)

// The errors that end an order have a type for each outcome. A type rather than a text, since telemetry.Do takes
// error.type from it: the words for a person go into the message.
type (
	invalidError     struct{ reason string }
	declinedError    struct{ reason string }
	unavailableError struct{ cause error }
)

func (e invalidError) Error() string  { return e.reason }
func (e declinedError) Error() string { return "the card was declined: " + e.reason }
func (e unavailableError) Error() string {
	return "the payment gateway is unavailable: " + e.cause.Error()
}
func (e unavailableError) Unwrap() error { return e.cause }

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return outcomePaid
	case errors.As(err, new(invalidError)):
		return outcomeInvalid
	case errors.As(err, new(declinedError)):
		return outcomeDeclined
	case errors.As(err, new(unavailableError)):
		return outcomeUnavailable
	default:
		return outcomeFailed
	}
}

// refuse answers with the status that err stands for. What went wrong inside stays inside: it is in the trace.
func refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusInternalServerError, "internal error"
	switch {
	case errors.Is(err, errNotFound):
		status, text = http.StatusNotFound, err.Error()
	case outcomeOf(err) == outcomeInvalid:
		status, text = http.StatusBadRequest, err.Error()
	case outcomeOf(err) == outcomeDeclined:
		status, text = http.StatusPaymentRequired, err.Error()
	case outcomeOf(err) == outcomeUnavailable:
		status, text = http.StatusBadGateway, "the payment gateway is unavailable"
	}
	answer(w, status, map[string]string{"error": text})
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// parsePayment reads and checks the body of POST /api/payments; each of its errors is an invalidError. Without a
// currency it is EUR, and without a card the one that the gateway has on file.
func parsePayment(body io.Reader) (payment, error) {
	var in struct {
		Amount   float64 `json:"amount"`
		Currency string  `json:"currency"`
		Card     string  `json:"card"`
	}
	if err := json.NewDecoder(body).Decode(&in); err != nil {
		return payment{}, invalidError{fmt.Sprintf("the body is not a payment in JSON: %v", err)}
	}
	p := payment{
		ID:       "pay_" + strings.ToLower(rand.Text()[:12]),
		Cents:    int64(math.Round(min(in.Amount, maxAmount) * 100)),
		Currency: cmp.Or(in.Currency, "EUR"),
		Card:     in.Card,
		Created:  time.Now().UTC(),
	}
	switch {
	case p.Cents <= 0:
		return p, invalidError{fmt.Sprintf("amount must be greater than 0, got %v", in.Amount)}
	case in.Amount > maxAmount:
		return p, invalidError{fmt.Sprintf("amount must be at most %d, got %v", maxAmount, in.Amount)}
	case !currencyCode.MatchString(p.Currency):
		return p, invalidError{fmt.Sprintf("currency must be a code such as EUR, got %q", p.Currency)}
	}
	return p, nil
}
