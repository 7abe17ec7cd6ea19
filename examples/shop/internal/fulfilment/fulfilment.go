// Package fulfilment packs what has been ordered: a worker behind NATS.
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

// Build is the service. NATS_URL says where the messages come from; it serves its probes over HTTP.
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
