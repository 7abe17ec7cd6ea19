package lines

import (
	"cmp"
	"log/slog"
	"strings"
	"time"
)

// SignalReceived says what happens after a first SIGINT or SIGTERM.
func SignalReceived(name string, mainReturned bool) Line {
	waiting := "waiting for the program to return"
	if mainReturned {
		waiting = "still delivering"
	}
	return info("%s received: %s; a second signal stops it immediately", name, waiting)
}

// SignalReceivedAgain says what a second one loses. held is such as "3 spans", or "".
func SignalReceivedAgain(name, held string) Line {
	lost := "nothing was waiting to be delivered"
	if held != "" {
		lost = held + " not delivered"
	}
	return warn("%s received again: stopping immediately, %s", name, lost)
}

// StillDelivering says why the program has not ended yet.
func StillDelivering(held string, left time.Duration, signaled bool) Line {
	howToEnd := "press Ctrl-C twice to stop immediately"
	if signaled {
		howToEnd = "press Ctrl-C again to stop immediately"
	}
	return info("still delivering %s; this may take another %s (%s)", cmp.Or(held, "telemetry"),
		max(left.Round(time.Second), time.Second), howToEnd)
}

// ShutdownFailed is about an error of Shutdown in Run other than undelivered items.
func ShutdownFailed(err error) Line {
	l := fail("%v", err)
	l.text = strings.TrimPrefix(l.text, "telemetry: ")
	return l
}

// Stopped has the totals since Init, a group for each signal.
func Stopped(anyLost bool, signals ...slog.Attr) Line {
	l := info("stopped").with(signals...)
	if anyLost {
		l = l.at(slog.LevelWarn)
	}
	return l
}
