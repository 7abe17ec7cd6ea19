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

// OrdersPlaced is the subject of checkout's messages about paid orders.
const OrdersPlaced = "orders.placed"

// ProcessSpan is the name of the span that processes a message of OrdersPlaced.
const ProcessSpan = "process " + OrdersPlaced

// Messages is a connection to NATS that makes a span for each message it sends or receives.
type Messages struct{ conn *nats.Conn }

// Connect connects to NATS_URL, now or as soon as a server listens there. It drains the connection
// when app stops, so published messages are sent and received ones are processed.
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
	if err := conn.Drain(); err != nil { // the server is unreachable
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

// Publish sends a message in a producer span. The message headers carry the span's W3C trace
// context.
func (m *Messages) Publish(ctx context.Context, subject string, body []byte) error {
	return telemetry.Do(ctx, "send "+subject, func(ctx context.Context) error {
		msg := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: body}
		// NATS header names are case-sensitive. This carrier uses lower case, like the W3C.
		telemetry.Inject(ctx, telemetry.MetadataCarrier(msg.Header))
		return m.conn.PublishMsg(msg)
	}, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(messaging(subject, "send", semconv.MessagingOperationTypeSend)...))
}

// Subscribe calls work for each message of subject, one at a time. Several processes with the same
// queue share the messages.
//
// Processing a message starts a new trace that links to the producer's span; it is not part of the
// producer's trace. The customer's order is complete before it begins, it may run minutes later,
// and one span may process many messages. The semantic conventions for messaging recommend this.
func (m *Messages) Subscribe(tally *Tally, subject, queue string, work func(context.Context, []byte) error) error {
	_, err := m.conn.QueueSubscribe(subject, queue, func(msg *nats.Msg) {
		began := time.Now()
		producer := trace.SpanContextFromContext(
			telemetry.Extract(context.Background(), telemetry.MetadataCarrier(msg.Header)))
		// The context is empty, so Do begins a new trace, and this process's sampler decides on it.
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
