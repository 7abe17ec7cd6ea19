package logs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/version"
)

// Sink is the last processor of a logger provider, and takes slog's records as well. They do not
// pass the provider: its Emit adds attributes one by one, with two maps for each, which takes more
// time than the rest of a record's way through both branches together.
type Sink struct {
	next     sdklog.Processor
	template sdklog.Record // has the provider's resource and limits, and the scope
	ready    bool          // with the template
	stopped  atomic.Bool
}

// NewSink returns a processor in front of next. [Sink.Attach] makes it ready.
func NewSink(next sdklog.Processor) *Sink { return &Sink{next: next} }

// Attach takes what all records have in common from a provider that has the sink as a processor. It
// must come before anything else uses the provider.
func (s *Sink) Attach(provider log.LoggerProvider) {
	provider.Logger(version.Scope, log.WithInstrumentationVersion(version.Version)).
		Emit(context.Background(), log.Record{})
	s.ready = true
}

// OnEmit hands records of the provider on.
func (s *Sink) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if !s.ready {
		s.template = r.Clone()
		return nil
	}
	return s.next.OnEmit(ctx, r)
}

// Enabled implements [sdklog.Processor].
func (s *Sink) Enabled(ctx context.Context, p sdklog.EnabledParameters) bool {
	return s.next.Enabled(ctx, p)
}

// ForceFlush implements [sdklog.Processor].
func (s *Sink) ForceFlush(ctx context.Context) error { return s.next.ForceFlush(ctx) }

// Shutdown stops slog's records, as the Shutdown of a provider stops its own.
func (s *Sink) Shutdown(ctx context.Context) error {
	s.stopped.Store(true)
	return s.next.Shutdown(ctx)
}

// bridge turns walked records of slog into those of OpenTelemetry's SDK, as otelslog does, except
// that it compares levels, that it keeps all groups (see nest) and that every error keeps its own
// key: otelslog moves errors to exception.* and keeps only the last.
type bridge struct {
	sink   *Sink
	level  slog.Leveler
	given  converted   // by WithAttrs, before the first group
	groups []openGroup // outermost first
}

// openGroup is an open WithGroup and what was given since.
type openGroup struct {
	name string
	converted
}

// converted are attributes in OpenTelemetry's form.
type converted struct {
	attrs []attribute.KeyValue
	err   error // the first error among them; nil if there is none
}

// Enabled tells whether the level is reached, and the provider runs.
func (b *bridge) Enabled(_ context.Context, level slog.Level) bool {
	return level >= b.level.Level() && !b.sink.stopped.Load()
}

// Handle hands the record on. A panic of a value or a processor becomes an error.
func (b *bridge) Handle(ctx context.Context, r slog.Record) (err error) {
	if b.sink.stopped.Load() {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("telemetry: a log record panicked: %s", panicText(p))
		}
	}()
	e := emissions.Get().(*emission)
	record := &e.record
	*record = b.sink.template
	record.SetTimestamp(r.Time)
	record.SetObservedTimestamp(time.Now())
	record.SetSeverity(severity(r.Level))
	record.SetSeverityText(r.Level.String())
	record.SetBody(attribute.StringValue(r.Message))
	sc := trace.SpanContextFromContext(ctx)
	record.SetTraceID(sc.TraceID())
	record.SetSpanID(sc.SpanID())
	record.SetTraceFlags(sc.TraceFlags())
	e.all = b.appendTo(e.all[:0], e.own[:0], r)
	record.SetAttributes(e.all...)
	err = b.sink.next.OnEmit(ctx, record)
	emissions.Put(e)
	return err
}

// severity converts a level of slog. Both count in steps of four.
func severity(level slog.Level) log.Severity {
	return log.Severity(level-slog.LevelInfo) + log.SeverityInfo
}

// emission is what is needed to hand one record on. Processors copy what they keep.
type emission struct {
	record   sdklog.Record
	all, own []attribute.KeyValue
}

var emissions = sync.Pool{New: func() any {
	return &emission{all: make([]attribute.KeyValue, 0, 16), own: make([]attribute.KeyValue, 0, 16)}
}}

// appendTo adds the attributes of a record and of its error. own is a buffer for those in the
// innermost group.
func (b *bridge) appendTo(all, own []attribute.KeyValue, r slog.Record) []attribute.KeyValue {
	all = append(all, b.given.attrs...)
	err := b.given.err
	for _, g := range b.groups {
		if g.err != nil {
			err = g.err
		}
	}
	c := converted{attrs: all}
	if len(b.groups) > 0 {
		c.attrs = append(own, b.groups[len(b.groups)-1].attrs...)
	}
	r.Attrs(func(a slog.Attr) bool {
		c.add(a)
		return true
	})
	if c.err != nil {
		err = c.err
	}
	if len(b.groups) > 0 {
		c.attrs = b.nest(all, c.attrs)
	}
	return withException(c.attrs, err)
}

// nest adds the outermost group. otelslog leaves out a group with nothing but another group in it:
// then the path of a key would not be that on the console, and so not sensitive in the same places.
func (b *bridge) nest(all, inner []attribute.KeyValue) []attribute.KeyValue {
	for i, g := range slices.Backward(b.groups) {
		if i < len(b.groups)-1 && len(g.attrs) > 0 {
			inner = append(slices.Clip(g.attrs), inner...)
		}
		if len(inner) > 0 {
			inner = []attribute.KeyValue{attribute.Map(g.name, inner...)}
		}
	}
	return append(all, inner...)
}

// withException adds the attributes that the SDK makes of an error, unless the record has them.
func withException(attrs []attribute.KeyValue, err error) []attribute.KeyValue {
	if err == nil {
		return attrs
	}
	has := func(key attribute.Key) bool {
		return slices.ContainsFunc(attrs, func(kv attribute.KeyValue) bool { return kv.Key == key })
	}
	hasMessage, hasType := has(semconv.ExceptionMessageKey), has(semconv.ExceptionTypeKey)
	if text := err.Error(); !hasMessage && text != "" {
		attrs = append(attrs, semconv.ExceptionMessage(text))
	}
	if name := typeOf(err); !hasType && name != "" {
		attrs = append(attrs, semconv.ExceptionType(name))
	}
	return attrs
}

// WithAttrs converts the attributes once, for all records.
func (b *bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *b
	if len(b.groups) == 0 {
		with.given = b.given.with(attrs)
		return &with
	}
	with.groups = slices.Clone(b.groups)
	last := &with.groups[len(with.groups)-1]
	last.converted = last.with(attrs)
	return &with
}

// WithGroup opens a group.
func (b *bridge) WithGroup(name string) slog.Handler {
	if name == "" {
		return b
	}
	with := *b
	with.groups = append(slices.Clip(b.groups), openGroup{name: name})
	return &with
}

// with returns c with further attributes. An error among them takes precedence.
func (c converted) with(attrs []slog.Attr) converted {
	more := converted{attrs: slices.Clip(c.attrs)}
	for _, a := range attrs {
		more.add(a)
	}
	if more.err == nil {
		more.err = c.err
	}
	return more
}

// add converts an attribute. An error is text, and the first one is exception.* as well.
func (c *converted) add(a slog.Attr) {
	if err, isError := errorOf(a.Value); isError {
		if c.err == nil {
			c.err = err
		}
		a.Value = slog.StringValue(err.Error())
	}
	c.attrs = appendMember(c.attrs, a)
}

// appendMember converts an attribute. A group without a key is replaced by its members.
func appendMember(members []attribute.KeyValue, a slog.Attr) []attribute.KeyValue {
	if a.Key == "" {
		switch a.Value.Kind() {
		case slog.KindGroup:
			for _, member := range a.Value.Group() {
				members = appendMember(members, member)
			}
			return members
		case slog.KindAny:
			if a.Value.Any() == nil {
				return members
			}
		}
	}
	return append(members, attribute.KeyValue{Key: attribute.Key(a.Key), Value: attributeValue(a.Value)})
}

func attributeValue(v slog.Value) attribute.Value {
	switch v.Kind() {
	case slog.KindString:
		return attribute.StringValue(v.String())
	case slog.KindInt64:
		return attribute.Int64Value(v.Int64())
	case slog.KindUint64:
		return uint64Value(v.Uint64())
	case slog.KindFloat64:
		return attribute.Float64Value(v.Float64())
	case slog.KindBool:
		return attribute.BoolValue(v.Bool())
	case slog.KindDuration:
		return attribute.Int64Value(v.Duration().Nanoseconds())
	case slog.KindTime:
		return attribute.Int64Value(v.Time().UnixNano())
	case slog.KindGroup:
		members := make([]attribute.KeyValue, 0, len(v.Group()))
		for _, member := range v.Group() {
			members = appendMember(members, member)
		}
		return attribute.MapValue(members...)
	}
	switch value := v.Any().(type) {
	case nil:
		return attribute.Value{}
	case *node:
		return value.Value()
	case []byte:
		return attribute.ByteSliceValue(value)
	}
	w := walk{budget: budget{maxValueElements, maxValueBytes}}
	n := w.any(v.Any(), maxDepth)
	return n.Value()
}
