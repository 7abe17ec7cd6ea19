// Package inventory reserves products in stock, over gRPC.
package inventory

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/examples/shop/internal/shoppb"
)

// RemoteProduct is in a warehouse that takes longer to answer than the platform's SlowThreshold.
const RemoteProduct = "samovar"

const remoteAnswer = platform.SlowThreshold + 100*time.Millisecond

// service counts the reservations. There is always enough stock.
type service struct {
	shoppb.UnimplementedInventoryServer
	reserved atomic.Int64
}

// Build sets up the service.
func Build(_ context.Context, app *platform.App) error {
	shoppb.RegisterInventoryServer(app.GRPC(), &service{})
	return nil
}

func (s *service) Reserve(ctx context.Context, req *shoppb.ReserveRequest) (*shoppb.ReserveResponse, error) {
	if req.GetProductId() == RemoteProduct {
		if err := telemetry.Do(ctx, "ask remote warehouse", answerLate); err != nil {
			return nil, status.FromContextError(err).Err()
		}
	}
	s.reserved.Add(1)
	slog.InfoContext(ctx, "reserved", "order", req.GetOrderId(), "product", req.GetProductId())
	return &shoppb.ReserveResponse{}, nil
}

func (s *service) Release(ctx context.Context, req *shoppb.ReleaseRequest) (*shoppb.ReleaseResponse, error) {
	slog.InfoContext(ctx, "released", "order", req.GetOrderId(), "still_reserved", s.reserved.Add(-1))
	return &shoppb.ReleaseResponse{}, nil
}

func answerLate(ctx context.Context) error {
	select {
	case <-time.After(remoteAnswer):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
