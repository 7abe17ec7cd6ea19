// Package payment takes money, over gRPC.
package payment

import (
	"context"
	"crypto/rand"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/examples/shop/internal/shoppb"
)

// DeclinedCard is a card that the bank refuses, like the test cards of payment providers.
const DeclinedCard = "card_declined_test"

// declined is the error for a card that the bank refuses. It fails the order, so the span gets the
// status Error. ErrorType gives it an error.type with few values, for grouping.
type declined struct{ reason string }

func (d declined) Error() string     { return "the card was declined: " + d.reason }
func (d declined) ErrorType() string { return "card_declined" }

type service struct {
	shoppb.UnimplementedPaymentServer
}

// Build sets up the service.
func Build(_ context.Context, app *platform.App) error {
	shoppb.RegisterPaymentServer(app.GRPC(), service{})
	return nil
}

// Charge asks the bank. For a declined card it returns FAILED_PRECONDITION. By the semantic
// conventions that is an error of the caller's span but not of this server's. The inner span has
// the error that keeps this part of the trace.
func (service) Charge(ctx context.Context, req *shoppb.ChargeRequest) (*shoppb.ChargeResponse, error) {
	resp := &shoppb.ChargeResponse{}
	err := telemetry.Do(ctx, "authorize card", func(context.Context) error {
		if req.GetCard() == DeclinedCard {
			return declined{"insufficient funds"}
		}
		resp.Authorization = "auth_" + rand.Text()[:10]
		return nil
	})
	if err != nil {
		slog.WarnContext(ctx, "charge declined", "order", req.GetOrderId(), "error", err)
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	slog.InfoContext(ctx, "charged", "order", req.GetOrderId(), "cents", req.GetCents())
	return resp, nil
}
