package platform

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

// OrdersPlaced is the subject on which checkout says that an order is paid.
const OrdersPlaced = "orders.placed"

// ProcessSpan is the name of the span in which a message of OrdersPlaced is worked on.
const ProcessSpan = "process " + OrdersPlaced

// Messages is a connection to NATS that makes spans of what it sends and receives.
type Messages struct{ conn *nats.Conn }

// Connect connects to NATS_URL, now or as soon as somebody listens there, and drains the connection when app stops:
// what is published is on its way, and what has been received is worked on.
func Connect(app *App, name string) (*Messages, error) {
	url := os.Getenv("NATS_URL")
	if url == "" {
		return nil, fmt.Errorf("NATS_URL is not set: want the URL of a NATS server, such as nats://nats:4222")
	}
	drained := make(chan struct{})
	conn, err := nats.Connect(url, nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(500*time.Millisecond), nats.DrainTimeout(closeTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(drained) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { slog.Warn("NATS", "error", err) }))
	if err != nil {
		return nil, fmt.Errorf("NATS_URL: %w", err)
	}
	app.Needs(func(context.Context) error {
		if !conn.IsConnected() {
			return fmt.Errorf("NATS is %s", conn.Status())
		}
		return nil
	})
	app.OnStop(func(ctx context.Context) error { return drain(ctx, conn, drained) })
	return &Messages{conn}, nil
}

func drain(ctx context.Context, conn *nats.Conn, drained <-chan struct{}) error {
	if err := conn.Drain(); err != nil { // the server is away
		unsent, _ := conn.Buffered()
		conn.Close()
		if unsent > 0 {
			return fmt.Errorf("drain NATS: %d bytes of messages were not sent: %w", unsent, err)
		}
		return nil
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain NATS: %w", ctx.Err())
	}
}

// Publish sends a message in a producer span. The span's W3C trace context travels in the headers of the message.
func (m *Messages) Publish(ctx context.Context, subject string, body []byte) error {
	return telemetry.Do(ctx, "send "+subject, func(ctx context.Context) error {
		msg := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: body}
		// NATS compares header names byte by byte, and the W3C writes them in lower case, as this carrier does.
		telemetry.Inject(ctx, telemetry.MetadataCarrier(msg.Header))
		return m.conn.PublishMsg(msg)
	}, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(messaging(subject, "send", semconv.MessagingOperationTypeSend)...))
}

// Subscribe calls work for each message of subject, one after the other. Several processes with the same queue share
// the messages.
//
// Work on a message is a trace of its own, linked to the producer's span, and not a part of the producer's trace: the
// order is finished for the customer when it begins, it may come minutes later, and one span may work on many messages.
// This is what the semantic conventions for messaging recommend.
func (m *Messages) Subscribe(tally *Tally, subject, queue string, work func(context.Context, []byte) error) error {
	_, err := m.conn.QueueSubscribe(subject, queue, func(msg *nats.Msg) {
		began := time.Now()
		producer := trace.SpanContextFromContext(
			telemetry.Extract(context.Background(), telemetry.MetadataCarrier(msg.Header)))
		// The context is an empty one, so Do begins a trace, of which this process's own sampler decides.
		err := telemetry.Do(context.Background(), "process "+subject, func(ctx context.Context) error {
			return work(ctx, msg.Data)
		}, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.Link{SpanContext: producer}),
			trace.WithAttributes(messaging(subject, "process", semconv.MessagingOperationTypeProcess)...))
		tally.Add("process "+subject, time.Since(began), err != nil)
	})
	return err
}

func messaging(subject, operation string, kind attribute.KeyValue) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(subject),
		semconv.MessagingOperationName(operation), kind,
	}
}
