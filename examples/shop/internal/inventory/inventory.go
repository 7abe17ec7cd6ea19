// Package inventory knows what is in stock, over gRPC.
package inventory

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/examples/shop/internal/shoppb"
)

// RemoteProduct lies in a warehouse whose answers take longer than what the platform calls slow.
const RemoteProduct = "samovar"

const remoteAnswer = platform.SlowThreshold + 100*time.Millisecond

// service remembers who has reserved what. There is always enough.
type service struct {
	shoppb.UnimplementedInventoryServer
	mu       sync.Mutex
	reserved map[string]string
}

// Build is the service.
func Build(_ context.Context, app *platform.App) error {
	shoppb.RegisterInventoryServer(app.GRPC(), &service{reserved: make(map[string]string)})
	return nil
}

func (s *service) Reserve(ctx context.Context, req *shoppb.ReserveRequest) (*shoppb.ReserveResponse, error) {
	if req.GetProductId() == RemoteProduct {
		if err := telemetry.Do(ctx, "ask remote warehouse", answerLate); err != nil {
			return nil, status.FromContextError(err).Err()
		}
	}
	s.mu.Lock()
	s.reserved[req.GetOrderId()] = req.GetProductId()
	s.mu.Unlock()
	slog.InfoContext(ctx, "reserved", "order", req.GetOrderId(), "product", req.GetProductId())
	return &shoppb.ReserveResponse{}, nil
}

func (s *service) Release(ctx context.Context, req *shoppb.ReleaseRequest) (*shoppb.ReleaseResponse, error) {
	s.mu.Lock()
	product, ok := s.reserved[req.GetOrderId()]
	delete(s.reserved, req.GetOrderId())
	s.mu.Unlock()
	if !ok {
		return nil, status.Errorf(codes.NotFound, "order %s has reserved nothing", req.GetOrderId())
	}
	slog.InfoContext(ctx, "released", "order", req.GetOrderId(), "product", product)
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
