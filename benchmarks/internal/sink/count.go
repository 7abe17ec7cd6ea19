package sink

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// countItems returns how many spans or log records an export request holds. It walks the wire
// format and decodes nothing, so that the collector does not compete for the processor with what is
// measured: the requests of both signals are resource (field 1) > scope (field 2) > item (field 2).
// Malformed bytes count as none.
func countItems(request []byte) (n int64) {
	each(request, 1, func(resource []byte) {
		each(resource, 2, func(scope []byte) {
			each(scope, 2, func([]byte) { n++ })
		})
	})
	return n
}

// each calls f with every length-delimited field of the given number.
func each(message []byte, number protowire.Number, f func([]byte)) {
	for len(message) > 0 {
		num, typ, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return
		}
		if num == number && typ == protowire.BytesType {
			value, size := protowire.ConsumeBytes(message[tag:])
			if size < 0 {
				return
			}
			f(value)
			message = message[tag+size:]
			continue
		}
		size := protowire.ConsumeFieldValue(num, typ, message[tag:])
		if size < 0 {
			return
		}
		message = message[tag+size:]
	}
}
