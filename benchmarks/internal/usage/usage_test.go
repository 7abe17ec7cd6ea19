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

func TestMemoryOfAProcess(t *testing.T) {
	status := []byte("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    2048 kB\nRssAnon:\t 3 kB\n")
	require.EqualValues(t, 2048<<10, sizeIn(status, "VmRSS:"))
	require.EqualValues(t, 3<<10, sizeIn(status, "RssAnon:"))
	require.Zero(t, sizeIn([]byte("VmRSS: what\n"), "VmRSS:"))
	require.Positive(t, RSS())
	require.Equal(t, Process{}, Of(-1))
}
