package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Spans replaces the spans that need repairs with repaired copies. The spans themselves do not
// change, because others may hold them. [Resource] repairs their resource.
func Spans(spans []sdktrace.ReadOnlySpan) {
	for i, span := range spans {
		candidate := soundSpan{ReadOnlySpan: span}
		if candidate.fill() {
			sound := candidate // only this one goes to the heap
			spans[i] = &sound
		}
	}
}

// soundSpan is a span whose invalid texts and values are replaced.
type soundSpan struct {
	sdktrace.ReadOnlySpan
	name       string
	attributes []attribute.KeyValue
	events     []sdktrace.Event
	links      []sdktrace.Link
	status     sdktrace.Status
	scope      instrumentation.Scope
}

func (s *soundSpan) Name() string                                { return s.name }
func (s *soundSpan) Attributes() []attribute.KeyValue            { return s.attributes }
func (s *soundSpan) Events() []sdktrace.Event                    { return s.events }
func (s *soundSpan) Links() []sdktrace.Link                      { return s.links }
func (s *soundSpan) Status() sdktrace.Status                     { return s.status }
func (s *soundSpan) InstrumentationScope() instrumentation.Scope { return s.scope }

func (s *soundSpan) fill() (repaired bool) {
	note := func(here bool) { repaired = repaired || here }
	var here bool
	s.name, here = text(s.ReadOnlySpan.Name())
	note(here)
	s.attributes, here = attributes(s.ReadOnlySpan.Attributes(), maxDepth)
	note(here)
	s.events, here = events(s.ReadOnlySpan.Events())
	note(here)
	s.links, here = links(s.ReadOnlySpan.Links())
	note(here)
	s.status = s.ReadOnlySpan.Status()
	s.status.Description, here = text(s.status.Description)
	note(here)
	s.scope, here = scope(s.ReadOnlySpan.InstrumentationScope())
	note(here)
	return repaired
}

func events(all []sdktrace.Event) (sound []sdktrace.Event, repaired bool) {
	sound = all
	for i := range all {
		name, inName := text(all[i].Name)
		attrs, inAttributes := attributes(all[i].Attributes, maxDepth)
		if !inName && !inAttributes {
			continue
		}
		if !repaired {
			sound = append([]sdktrace.Event(nil), all...)
			repaired = true
		}
		sound[i].Name, sound[i].Attributes = name, attrs
	}
	return sound, repaired
}

func links(all []sdktrace.Link) (sound []sdktrace.Link, repaired bool) {
	sound = all
	for i := range all {
		attrs, here := attributes(all[i].Attributes, maxDepth)
		if !here {
			continue
		}
		if !repaired {
			sound = append([]sdktrace.Link(nil), all...)
			repaired = true
		}
		sound[i].Attributes = attrs
	}
	return sound, repaired
}
