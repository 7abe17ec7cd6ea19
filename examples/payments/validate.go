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

// maxBody limits the body of a request, in bytes; a payment needs a few hundred.
const maxBody = 16 << 10

// maxAmount is the maximum amount of one payment.
const maxAmount = 1_000_000

// An outcome is how an order ended. It is an attribute of orders.total, so there are only a few.
type outcome string

const (
	outcomePaid        outcome = "paid"
	outcomeInvalid     outcome = "invalid"     // 400: the request is invalid
	outcomeDeclined    outcome = "declined"    // 402: the bank declined
	outcomeUnavailable outcome = "unavailable" // 502: the gateway did not answer
	outcomeFailed      outcome = "failed"      // 500: anything else
)

// There is one error type for each outcome of an order, because telemetry.Do sets error.type from
// the type. The text for people goes into the message.
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

// refuse answers with the status for err. The client does not see internal details; they are in the
// trace.
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

// parsePayment reads and checks the body of POST /api/payments; all its errors are invalidErrors.
// The default currency is EUR, and the default card is the one that the gateway has on file.
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
