package redact

import (
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Spans replaces the spans in which something is masked and returns the number of masked values and
// parts of values. The spans themselves, which others may hold, do not change.
func (r *Redactor) Spans(spans []sdktrace.ReadOnlySpan) (hits int) {
	for i, span := range spans {
		m := maskedSpan{ReadOnlySpan: span}
		if n := m.fill(r); n > 0 {
			masked := m // only this copy is on the heap
			spans[i] = &masked
			hits += n
		}
	}
	return hits
}

// maskedSpan is a span whose sensitive parts are masked.
type maskedSpan struct {
	sdktrace.ReadOnlySpan
	name       string
	attributes []attribute.KeyValue
	events     []sdktrace.Event
	links      []sdktrace.Link
	status     sdktrace.Status
}

func (m *maskedSpan) Name() string                     { return m.name }
func (m *maskedSpan) Attributes() []attribute.KeyValue { return m.attributes }
func (m *maskedSpan) Events() []sdktrace.Event         { return m.events }
func (m *maskedSpan) Links() []sdktrace.Link           { return m.links }
func (m *maskedSpan) Status() sdktrace.Status          { return m.status }

// fill copies everything from the span that may hold text. That includes names: those of HTTP
// client spans may contain paths.
func (m *maskedSpan) fill(r *Redactor) (hits int) {
	var n int
	m.name, hits = r.Text(m.ReadOnlySpan.Name())
	m.attributes, n = r.Attributes(m.ReadOnlySpan.Attributes())
	hits += n
	m.events, n = r.events(m.ReadOnlySpan.Events())
	hits += n
	m.links, n = r.links(m.ReadOnlySpan.Links())
	hits += n
	m.status = m.ReadOnlySpan.Status()
	m.status.Description, n = r.Text(m.status.Description)
	return hits + n
}

func (r *Redactor) events(events []sdktrace.Event) (masked []sdktrace.Event, hits int) {
	masked = events
	for i := range events {
		name, inName := r.Text(events[i].Name)
		attrs, inAttributes := r.Attributes(events[i].Attributes)
		if inName+inAttributes == 0 {
			continue
		}
		if hits == 0 {
			masked = append([]sdktrace.Event(nil), events...)
		}
		masked[i].Name, masked[i].Attributes = name, attrs
		hits += inName + inAttributes
	}
	return masked, hits
}

func (r *Redactor) links(links []sdktrace.Link) (masked []sdktrace.Link, hits int) {
	masked = links
	for i := range links {
		attrs, n := r.Attributes(links[i].Attributes)
		if n == 0 {
			continue
		}
		if hits == 0 {
			masked = append([]sdktrace.Link(nil), links...)
		}
		masked[i].Attributes = attrs
		hits += n
	}
	return masked, hits
}

// Records replaces the log records in which something is masked by copies and returns the number of
// masked values and parts of values.
func (r *Redactor) Records(records []sdklog.Record) (hits int) {
	for i := range records {
		hits += r.record(&records[i])
	}
	return hits
}

func (r *Redactor) record(record *sdklog.Record) (hits int) {
	body, inBody := r.look(label{}, record.Body())
	event, inEvent := r.Text(record.EventName())
	inAttributes := 0
	record.WalkAttributes(func(kv attribute.KeyValue) bool {
		if r.isHarmless(nil, &kv) {
			return true
		}
		_, n := r.keyed(nil, string(kv.Key), kv.Value)
		inAttributes += n
		return true
	})
	if inBody+inEvent+inAttributes == 0 {
		return 0
	}
	clone := record.Clone()
	if inBody > 0 {
		clone.SetBody(body)
	}
	if inEvent > 0 {
		clone.SetEventName(event)
	}
	if inAttributes > 0 {
		r.setAttributes(&clone)
	}
	*record = clone
	return inBody + inEvent + inAttributes
}

// setAttributes masks the attributes of a record. Setting all attributes would reset the SDK's
// count of dropped ones. So if there are any, the masked attributes are overwritten one by one.
func (r *Redactor) setAttributes(record *sdklog.Record) {
	var all, changed []attribute.KeyValue
	record.WalkAttributes(func(kv attribute.KeyValue) bool {
		v, n := r.keyed(nil, string(kv.Key), kv.Value)
		kv.Value = v
		all = append(all, kv)
		if n > 0 {
			changed = append(changed, kv)
		}
		return true
	})
	if record.DroppedAttributes() > 0 {
		record.AddAttributes(changed...)
		return
	}
	record.SetAttributes(all...)
}
