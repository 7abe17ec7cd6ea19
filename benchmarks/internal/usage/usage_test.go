package usage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMachineIsBusyUnlessIdleOrWaiting(t *testing.T) {
	before := parseMachine([]byte("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 1 1 1\n"))
	after := parseMachine([]byte("cpu  130 5 60 840 55 2 3 5 9 9\n"))
	// 30 + 5 + 10 + 2 + 3 + 5 busy; 40 idle and 5 waiting; guests are part of user.
	require.InDelta(t, 55.0/100, after.BusySince(before), 1e-9)
	require.Zero(t, before.BusySince(after), "a clock that goes backwards tells nothing")
	require.Equal(t, Machine{}, parseMachine([]byte("nothing")))
}

func TestRSS(t *testing.T) {
	require.EqualValues(t, 2048<<10, parseRSS([]byte("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    2048 kB\n")))
	require.Zero(t, parseRSS([]byte("VmRSS: what\n")))
}
