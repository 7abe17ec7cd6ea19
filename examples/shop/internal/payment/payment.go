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

// DeclinedCard is a card that the bank refuses, as payment providers offer one for tests.
const DeclinedCard = "card_declined_test"

// declined is what a bank says now and then. It fails the order, so it counts as an error: the span has the status
// Error, and ErrorType gives it an error.type of few values to group by, apart from its text.
type declined struct{ reason string }

func (d declined) Error() string     { return "the card was declined: " + d.reason }
func (d declined) ErrorType() string { return "card_declined" }

type service struct {
	shoppb.UnimplementedPaymentServer
}

// Build is the service.
func Build(_ context.Context, app *platform.App) error {
	shoppb.RegisterPaymentServer(app.GRPC(), service{})
	return nil
}

// Charge asks the bank. A declined card is FAILED_PRECONDITION, which by the semantic conventions is an error of the
// caller's span and not of this server's; that this part of the trace is kept as well is the doing of the span inside.
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
