package telemetry

import (
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// MetadataCarrier carries context in gRPC metadata, a metadata.MD: it reads and writes md itself. Keys are lower-case, as
// HTTP/2 wants them. It is as safe for concurrent use as a map, and a nil one keeps nothing.
func MetadataCarrier(md map[string][]string) propagation.TextMapCarrier { return metadataCarrier(md) }

type metadataCarrier map[string][]string

// Get returns the first value of key, in whatever case key is written, or "".
func (c metadataCarrier) Get(key string) string {
	if values := c.Values(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values of key: baggage may be spread over several (W3C Baggage §3.3).
func (c metadataCarrier) Values(key string) []string {
	return c[strings.ToLower(key)]
}

// Set replaces the values of key by value. A nil carrier keeps nothing.
func (c metadataCarrier) Set(key, value string) {
	if c != nil {
		c[strings.ToLower(key)] = []string{value}
	}
}

// Keys returns the keys in no particular order.
func (c metadataCarrier) Keys() []string {
	return slices.Collect(maps.Keys(c))
}

// MessageCarrier carries context in the headers of a message (Kafka, NATS, SQS, AMQP): it reads and writes headers
// itself. Brokers and clients differ in how they write header names, so names match in any case. It is as safe for
// concurrent use as a map, and a nil one keeps nothing.
func MessageCarrier(headers map[string]string) propagation.TextMapCarrier {
	return messageCarrier(headers)
}

type messageCarrier map[string]string

// Get returns the value of the header named key, in any case, or "". Of several spellings the exact one wins, then the
// first in byte order, so that the same message always gives the same trace.
func (c messageCarrier) Get(key string) string {
	if value, ok := c[key]; ok {
		return value
	}
	if spellings := c.spellings(key); len(spellings) > 0 {
		return c[slices.Min(spellings)]
	}
	return ""
}

// Set replaces the header named key, in whatever case it was written, by value. A nil carrier keeps nothing.
func (c messageCarrier) Set(key, value string) {
	if c == nil {
		return
	}
	for _, spelling := range c.spellings(key) {
		delete(c, spelling)
	}
	c[key] = value
}

// Keys returns the header names, as they are written, in no particular order.
func (c messageCarrier) Keys() []string {
	return slices.Collect(maps.Keys(c))
}

func (c messageCarrier) spellings(key string) []string {
	var found []string
	for name := range c {
		if strings.EqualFold(name, key) {
			found = append(found, name)
		}
	}
	return found
}
