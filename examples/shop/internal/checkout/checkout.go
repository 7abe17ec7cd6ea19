// Package checkout processes an order: it reserves the product, charges the card, stores the order
// and publishes it.
package checkout

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/shop/internal/fulfilment"
	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/examples/shop/internal/shoppb"
)

type checkout struct {
	payment   shoppb.PaymentClient
	inventory shoppb.InventoryClient
	messages  *platform.Messages
	orders    *orders
}

// Build sets up the service. PAYMENT_ADDR, INVENTORY_ADDR, NATS_URL and DATABASE_URL are the
// addresses it uses.
func Build(ctx context.Context, app *platform.App) error {
	payment, paymentErr := dial(app, "PAYMENT_ADDR")
	inventory, inventoryErr := dial(app, "INVENTORY_ADDR")
	orders, databaseErr := openOrders(ctx, os.Getenv("DATABASE_URL"))
	if databaseErr == nil {
		app.Needs(orders.db.PingContext)
		app.OnStop(func(context.Context) error { return orders.db.Close() })
	}
	messages, messagesErr := platform.Connect(app, "checkout")
	if err := errors.Join(paymentErr, inventoryErr, databaseErr, messagesErr); err != nil {
		return err
	}
	c := &checkout{shoppb.NewPaymentClient(payment), shoppb.NewInventoryClient(inventory), messages, orders}
	app.Handle("POST /checkout", c.checkout)
	return nil
}

// dial connects at the first call and reconnects when the server is back.
func dial(app *platform.App, variable string) (*grpc.ClientConn, error) {
	addr := os.Getenv(variable)
	if addr == "" {
		return nil, fmt.Errorf("%s is not set: want host:port of a gRPC server", variable)
	}
	conn, err := grpc.NewClient(addr, grpc.WithStatsHandler(telemetry.ClientHandler()),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	app.OnStop(func(context.Context) error { return conn.Close() })
	return conn, nil
}

// order is the body of POST /checkout and, with its id, a row of the database.
type order struct {
	ID            string `json:"id,omitempty"`
	Product       string `json:"product"`
	Cents         int64  `json:"cents"`
	Card          string `json:"card,omitempty"` // never stored
	Authorization string `json:"authorization,omitempty"`
}

func (c *checkout) checkout(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := platform.ReadJSON(w, r, &o); err != nil {
		http.Error(w, "the body is not an order in JSON", http.StatusBadRequest)
		return
	}
	o.ID = "ord_" + strings.ToLower(rand.Text()[:12])
	err := c.place(r.Context(), &o)
	switch {
	case err == nil:
		slog.InfoContext(r.Context(), "order placed", "order", o.ID, "cents", o.Cents)
		platform.Answer(w, http.StatusCreated, order{ID: o.ID, Product: o.Product, Cents: o.Cents})
	case status.Code(err) == codes.FailedPrecondition:
		slog.WarnContext(r.Context(), "order not placed", "order", o.ID, "error", err)
		platform.Answer(w, http.StatusPaymentRequired, map[string]string{"error": "the card was declined"})
	default:
		slog.ErrorContext(r.Context(), "order not placed", "order", o.ID, "error", err)
		platform.Answer(w, http.StatusBadGateway, map[string]string{"error": "the order could not be placed"})
	}
}

func (c *checkout) place(ctx context.Context, o *order) error {
	if _, err := c.inventory.Reserve(ctx, &shoppb.ReserveRequest{OrderId: o.ID, ProductId: o.Product}); err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	charged, err := c.payment.Charge(ctx, &shoppb.ChargeRequest{OrderId: o.ID, Cents: o.Cents, Card: o.Card})
	if err != nil {
		_, undo := c.inventory.Release(ctx, &shoppb.ReleaseRequest{OrderId: o.ID})
		if undo != nil {
			slog.ErrorContext(ctx, "reservation not released", "order", o.ID, "error", undo)
		}
		return fmt.Errorf("charge: %w", err)
	}
	o.Authorization = charged.GetAuthorization()
	if err := c.orders.save(ctx, *o); err != nil {
		return err
	}
	body, err := json.Marshal(fulfilment.Placed{Order: o.ID, Product: o.Product})
	if err != nil {
		return err
	}
	if err := c.messages.Publish(ctx, platform.OrdersPlaced, body); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
