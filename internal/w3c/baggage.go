package w3c

import (
	"cmp"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/baggage"
)

// The limits of baggage (W3C Baggage §3.3.2) are what every receiver must accept. Beyond them, the
// next service may drop all of it, or refuse the request for the size of its header.
const (
	maxBaggageMembers = 64
	maxBaggageBytes   = 8192
)

// BoundBaggage returns bag with as many whole members as the limits allow, in the order of their
// keys, and the keys of the members that are left out.
func BoundBaggage(bag baggage.Baggage) (bounded baggage.Baggage, left []string) {
	if bag.Len() == 0 || surelyFits(bag) {
		return bag, nil
	}
	members := bag.Members()
	slices.SortFunc(members, func(a, b baggage.Member) int { return cmp.Compare(a.Key(), b.Key()) })
	size, kept := 0, members[:0]
	for _, m := range members {
		text := m.String()
		if text == "" { // a key that cannot be written
			continue
		}
		if len(kept) == maxBaggageMembers || size+len(text) > maxBaggageBytes {
			left = append(left, m.Key())
			continue
		}
		size += len(text) + len(",")
		kept = append(kept, m)
	}
	if left == nil {
		return bag, nil
	}
	bounded, err := baggage.New(kept...)
	if err != nil { // cannot happen: the members were in a baggage already
		return baggage.Baggage{}, left
	}
	return bounded, left
}

// surelyFits reports whether bag is within the limits even if percent-encoding made three bytes of
// each one. It saves most baggage from being encoded twice.
func surelyFits(bag baggage.Baggage) bool {
	if bag.Len() > maxBaggageMembers {
		return false
	}
	size := 0
	for _, m := range bag.Members() {
		if len(m.Properties()) > 0 {
			return false
		}
		size += len(m.Key()) + len("=,") + 3*len(m.Value())
	}
	return size <= maxBaggageBytes
}

// OwnBaggage returns bag with copies of its texts. Those of received members keep the whole header
// in memory.
func OwnBaggage(bag baggage.Baggage) baggage.Baggage {
	members := bag.Members()
	own := members[:0]
	for _, m := range members {
		properties := m.Properties()
		for i, p := range properties {
			key := strings.Clone(p.Key())
			value, hasValue := p.Value()
			var err error
			if hasValue {
				properties[i], err = baggage.NewKeyValuePropertyRaw(key, strings.Clone(value))
			} else {
				properties[i], err = baggage.NewKeyProperty(key)
			}
			if err != nil {
				return bag
			}
		}
		copied, err := baggage.NewMemberRaw(strings.Clone(m.Key()), strings.Clone(m.Value()), properties...)
		if err != nil {
			return bag
		}
		own = append(own, copied)
	}
	copied, err := baggage.New(own...)
	if err != nil {
		return bag
	}
	return copied
}
