// Package fulfilment is a worker behind NATS that packs orders.
package fulfilment

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
)

// Placed is the message of platform.OrdersPlaced.
type Placed struct {
	Order   string `json:"order"`
	Product string `json:"product"`
}

// Build sets up the service. NATS_URL is the source of the messages. Probes are served over HTTP.
func Build(_ context.Context, app *platform.App) error {
	messages, err := platform.Connect(app, "fulfilment")
	if err != nil {
		return err
	}
	return messages.Subscribe(app.Tally, platform.OrdersPlaced, "fulfilment", fulfil)
}

func fulfil(ctx context.Context, body []byte) error {
	var placed Placed
	if err := json.Unmarshal(body, &placed); err != nil {
		slog.ErrorContext(ctx, "message not understood", "error", err)
		return fmt.Errorf("understand the message: %w", err)
	}
	err := telemetry.Do(ctx, "pack", func(context.Context) error { return nil })
	slog.InfoContext(ctx, "packed", "order", placed.Order, "product", placed.Product)
	return err
}
