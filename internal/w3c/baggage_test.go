package w3c_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"

	"github.com/fleetotel/telemetry/internal/w3c"
)

// bag has members one after the other, as a service adds them; each value is written as it is.
func bag(t testing.TB, values map[string]string) baggage.Baggage {
	t.Helper()
	var b baggage.Baggage
	for key, value := range values {
		member, err := baggage.NewMemberRaw(key, value)
		require.NoError(t, err)
		b, err = b.SetMember(member)
		require.NoError(t, err)
	}
	return b
}

func values(n, size int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("k%03d", i)] = strings.Repeat("v", size)
	}
	return all
}

func TestBoundBaggage(t *testing.T) {
	for name, tc := range map[string]struct {
		given map[string]string
		kept  int
		left  []string
	}{
		"none":       {nil, 0, nil},
		"64 members": {values(64, 10), 64, nil},
		"65 members": {values(65, 10), 64, []string{"k064"}},
		"8,192 bytes": {map[string]string{"a": strings.Repeat("v", 4093),
			"b": strings.Repeat("v", 4094)}, 2, nil},
		"8,193 bytes": {map[string]string{"a": strings.Repeat("v", 4094),
			"b": strings.Repeat("v", 4094)}, 1, []string{"b"}},
		"a small one behind a large":   {map[string]string{"a": strings.Repeat("v", 9000), "b": "1"}, 1, []string{"a"}},
		"what grows by its encoding":   {map[string]string{"a": strings.Repeat("\u00fc", 1400)}, 0, []string{"a"}},
		"a key that cannot be written": {map[string]string{"\u00fc": "1", "b": "2"}, 2, nil},
		"60 members of 180 bytes":      {values(60, 180), 44, nil},
	} {
		t.Run(name, func(t *testing.T) {
			given := bag(t, tc.given)
			bounded, left := w3c.BoundBaggage(given)
			require.Equal(t, tc.kept, bounded.Len())
			require.LessOrEqual(t, len(bounded.String()), 8192)
			require.Len(t, left, given.Len()-tc.kept)
			if tc.left != nil {
				require.Equal(t, tc.left, left)
			}
			for _, m := range bounded.Members() {
				require.Equal(t, tc.given[m.Key()], m.Value(), "members stay whole")
			}
		})
	}
}

// Properties count as they are written.
func TestBoundBaggageWithProperties(t *testing.T) {
	property, err := baggage.NewKeyValuePropertyRaw("note", strings.Repeat("p", 8000))
	require.NoError(t, err)
	var b baggage.Baggage
	for _, key := range []string{"a", "b"} {
		member, err := baggage.NewMemberRaw(key, "1", property)
		require.NoError(t, err)
		b, err = b.SetMember(member)
		require.NoError(t, err)
	}
	bounded, left := w3c.BoundBaggage(b)
	require.Equal(t, []string{"b"}, left)
	require.Equal(t, b.Member("a").String(), bounded.String())
}

func TestOwnBaggageIsTheSame(t *testing.T) {
	for _, header := range []string{"", "a=1", "a=1;p;q=2,b=%C3%A4;r=%20", strings.Repeat("k=v,", 40) + "z=1"} {
		bag, err := baggage.Parse(header)
		require.NoError(t, err)
		own := w3c.OwnBaggage(bag)
		require.Equal(t, bag.Len(), own.Len())
		for _, m := range own.Members() {
			require.Equal(t, bag.Member(m.Key()).String(), m.String())
			if v := bag.Member(m.Key()).Value(); v != "" {
				require.False(t, unsafe.StringData(v) == unsafe.StringData(m.Value()))
			}
		}
	}
}
