package encodable

import (
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// Records replaces the log records that need repairs with repaired copies.
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
		repairAttributes(&sound)
	}
	*r = sound
}

func repairAttributes(r *sdklog.Record) {
	var all, repaired []attribute.KeyValue
	newKey := false
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		key, inKey := text(string(kv.Key))
		v, inValue := value(&kv.Value, maxDepth)
		kv = attribute.KeyValue{Key: attribute.Key(key), Value: v}
		all = append(all, kv)
		if inKey || inValue {
			repaired = append(repaired, kv)
		}
		newKey = newKey || inKey
		return true
	})
	if newKey { // adding it would leave the invalid key in place
		r.SetAttributes(all...)
		return
	}
	replaceValues(r, all, repaired)
}

// replaceValues replaces the values of changed, which are also in all. To set all attributes would
// reset the count of those that the SDK has dropped.
func replaceValues(r *sdklog.Record, all, changed []attribute.KeyValue) {
	if r.DroppedAttributes() > 0 {
		r.AddAttributes(changed...)
		return
	}
	r.SetAttributes(all...)
}
