package delivery

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFamiliesTakeTurns(t *testing.T) {
	for name, tt := range map[string]struct{ resolved, want []string }{
		"none": {nil, []string{}},
		"one":  {[]string{"10.0.0.1"}, []string{"10.0.0.1:1"}},
		"IPv6 first": {[]string{"::1", "::2", "::3", "10.0.0.1"},
			[]string{"[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"}},
		"IPv4 first": {[]string{"10.0.0.1", "::1", "10.0.0.2"}, []string{"10.0.0.1:1", "[::1]:1", "10.0.0.2:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var ips []net.IPAddr
			for _, text := range tt.resolved {
				ips = append(ips, net.IPAddr{IP: net.ParseIP(text)})
			}
			require.Equal(t, tt.want, addresses(ips, "1"))
		})
	}
}

// Addresses that fail come last, and those that have not been tried for the longest time first
// among them. What has worked before gets its place back after a minute; what never has, does not.
func TestOrderOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d dialer
		order := func() string { return fmt.Sprint(d.inOrder([]string{"a", "b", "c", "d"})) }
		require.Equal(t, "[a b c d]", order())
		d.learn("d", true)
		require.Equal(t, "[a b c d]", order(), "the resolver spreads the load")
		d.learn("a", false)
		time.Sleep(time.Second)
		d.learn("b", false)
		require.Equal(t, "[c d a b]", order())
		d.learn("d", false)
		require.Equal(t, "[c a b d]", order())
		d.learn("b", true)
		require.Equal(t, "[b c a d]", order())
		time.Sleep(failureMemory)
		require.Equal(t, "[b c d a]", order(), "d has worked")
		d.learn("a", false)
		require.Equal(t, "[b c d a]", order())
	})
}

// A name with more addresses than a dial tries has the others tried by the next.
func TestAddressesPastTheBoundAreNext(t *testing.T) {
	var d dialer
	all := make([]string, maxAddresses+1)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	first := slices.Clone(d.inOrder(slices.Clone(all)))
	require.Equal(t, all[:maxAddresses], first)
	for _, address := range first {
		d.learn(address, false)
	}
	require.Equal(t, all[maxAddresses], d.inOrder(slices.Clone(all))[0])
	require.Len(t, d.inOrder(slices.Clone(all)), maxAddresses)

	for i := range 3 * maxKnown {
		d.learn(fmt.Sprint(i), false)
		require.LessOrEqual(t, len(d.known), maxKnown)
	}
}
