package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// Records replaces the log records in which something has to be repaired, by copies.
func Records(records []sdklog.Record) {
	for i := range records {
		record(&records[i])
	}
}

func record(r *sdklog.Record) {
	given := r.Body()
	body, inBody := value(&given, maxDepth)
	severity, inSeverity := text(r.SeverityText())
	event, inEvent := text(r.EventName())
	inAttributes := false
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		_, inKey := text(string(kv.Key))
		_, inValue := value(&kv.Value, maxDepth)
		inAttributes = inKey || inValue
		return !inAttributes
	})
	if !inBody && !inSeverity && !inEvent && !inAttributes {
		return
	}
	sound := r.Clone()
	sound.SetBody(body)
	sound.SetSeverityText(severity)
	sound.SetEventName(event)
	if inAttributes {
		setAttributes(&sound)
	}
	*r = sound
}

func setAttributes(r *sdklog.Record) {
	var all []attribute.KeyValue
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		all = append(all, kv)
		return true
	})
	all, _ = attributes(all, maxDepth)
	r.SetAttributes(all...)
}
