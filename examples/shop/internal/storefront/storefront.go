// Package storefront is the service for customers: it lists products and passes orders to checkout.
package storefront

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
)

// Product is an item for sale.
type Product struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Cents int64  `json:"cents"`
}

// Catalogue has all products. The last one is in a warehouse that answers slowly.
var Catalogue = []Product{
	{"mug", "A mug", 1290}, {"kettle", "A kettle", 4900}, {"teapot", "A teapot", 3450}, {"tea", "Tea, 100 g", 890},
	{"spoon", "A silver spoon", 2400}, {"samovar", "A samovar", 39900},
}

// Order is the body of POST /orders.
type Order struct {
	Product string `json:"product"`
	Card    string `json:"card"`
}

type storefront struct {
	checkout string
	client   *http.Client
}

// Build sets up the service. CHECKOUT_URL is the address of checkout.
func Build(_ context.Context, app *platform.App) error {
	s := &storefront{checkout: os.Getenv("CHECKOUT_URL"), client: platform.HTTPClient()}
	if s.checkout == "" {
		return fmt.Errorf("CHECKOUT_URL is not set: want the URL of checkout, such as http://checkout:8080")
	}
	app.Public()
	app.Handle("GET /products", s.list)
	app.Handle("GET /products/{id}", s.show)
	app.Handle(platform.OrderSpan, s.order)
	app.OnStop(func(context.Context) error { s.client.CloseIdleConnections(); return nil })
	return nil
}

func (s *storefront) list(w http.ResponseWriter, _ *http.Request) {
	platform.Answer(w, http.StatusOK, Catalogue)
}

func (s *storefront) show(w http.ResponseWriter, r *http.Request) {
	product, ok := find(r.PathValue("id"))
	if !ok {
		http.Error(w, "no such product", http.StatusNotFound)
		return
	}
	platform.Answer(w, http.StatusOK, product)
}

// order prices the order and passes it to checkout. The customer gets checkout's answer.
func (s *storefront) order(w http.ResponseWriter, r *http.Request) {
	var in Order
	if err := platform.ReadJSON(w, r, &in); err != nil {
		http.Error(w, "the body is not an order in JSON", http.StatusBadRequest)
		return
	}
	product, ok := find(in.Product)
	if !ok {
		http.Error(w, "no such product", http.StatusBadRequest)
		return
	}
	status, body, err := s.place(r.Context(),
		map[string]any{"product": product.ID, "cents": product.Cents, "card": in.Card})
	if err != nil {
		slog.ErrorContext(r.Context(), "checkout did not answer", "error", err)
		http.Error(w, "try again later", http.StatusBadGateway)
		return
	}
	slog.InfoContext(r.Context(), "order handed to checkout", "product", product.ID, "status", status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (s *storefront) place(ctx context.Context, order any) (status int, body []byte, err error) {
	body, err = json.Marshal(order)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.checkout+"/checkout", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() // the client span ends with the body, so it is read to the end
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}

func find(id string) (Product, bool) {
	for _, p := range Catalogue {
		if p.ID == id {
			return p, true
		}
	}
	return Product{}, false
}
