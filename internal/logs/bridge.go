package logs

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"go.opentelemetry.io/otel/attribute"
)

// Bridge stands behind a [Handler] and before otelslog: it gates by level, which otelslog does not, and turns walked
// values into OpenTelemetry's. Every error keeps its own key: otelslog moves errors to exception.* and keeps only the last.
type Bridge struct {
	next  slog.Handler
	level slog.Leveler
}

// NewBridge returns a bridge to next, an otelslog handler.
func NewBridge(next slog.Handler, level slog.Leveler) *Bridge { return &Bridge{next, level} }

// Enabled compares levels first: a record below the level should not take the SDK's locks.
func (b *Bridge) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= b.level.Level() && b.next.Enabled(ctx, level)
}

// Handle hands the record on. A panic of the SDK's, or of a processor, becomes an error.
func (b *Bridge) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("telemetry: a log record panicked: %s", panicText(p))
		}
	}()
	ready := true
	r.Attrs(func(a slog.Attr) bool {
		ready = isReady(a.Value)
		return ready
	})
	if ready {
		return b.next.Handle(ctx, r)
	}
	bridged := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	hasError := false
	r.Attrs(func(a slog.Attr) bool {
		bridged.AddAttrs(bridgeAttr(a, &hasError)...)
		return true
	})
	return b.next.Handle(ctx, bridged)
}

// WithAttrs hands the attributes on.
func (b *Bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	bridged := make([]slog.Attr, 0, len(attrs)+1)
	hasError := false
	for _, a := range attrs {
		bridged = append(bridged, bridgeAttr(a, &hasError)...)
	}
	return &Bridge{b.next.WithAttrs(bridged), b.level}
}

// WithGroup opens a group in next.
func (b *Bridge) WithGroup(name string) slog.Handler { return &Bridge{b.next.WithGroup(name), b.level} }

// isReady tells that otelslog makes of a value what it should.
func isReady(v slog.Value) bool {
	switch v.Kind() {
	case slog.KindUint64:
		return v.Uint64() <= math.MaxInt64
	case slog.KindAny:
		switch v.Any().(type) {
		case *Node, error:
			return false
		}
	case slog.KindGroup:
		for _, a := range v.Group() {
			if !isReady(a.Value) {
				return false
			}
		}
	}
	return true
}

// bridgeAttr is one attribute, or an error and its text: the first error of a record itself stays, from which the SDK
// makes exception.type and exception.message.
func bridgeAttr(a slog.Attr, hasError *bool) []slog.Attr {
	err, isError := errorOf(a.Value)
	switch {
	case !isError:
		return []slog.Attr{{Key: a.Key, Value: bridgeValue(a.Value)}}
	case *hasError:
		return []slog.Attr{slog.String(a.Key, err.Error())}
	}
	*hasError = true
	return []slog.Attr{a, slog.String(a.Key, err.Error())}
}

func bridgeValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindUint64:
		return fromAttribute(Uint64(v.Uint64()))
	case slog.KindAny:
		if node, ok := v.Any().(*Node); ok {
			return slog.AnyValue(node.Value())
		}
	case slog.KindGroup:
		if isReady(v) {
			return v
		}
		members := v.Group()
		bridged := make([]slog.Attr, len(members))
		for i, a := range members {
			bridged[i] = slog.Attr{Key: a.Key, Value: bridgeValue(a.Value)}
		}
		return slog.GroupValue(bridged...)
	}
	return v
}

func fromAttribute(v attribute.Value) slog.Value {
	if v.Type() == attribute.STRING {
		return slog.StringValue(v.AsString())
	}
	return slog.Int64Value(v.AsInt64())
}
