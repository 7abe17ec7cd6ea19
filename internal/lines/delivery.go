package lines

import (
	"log/slog"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/signal"
)

// Undeliverable says that requests of a signal have begun to fail. fate is [WaitsOnDisk] or from
// [IsRetried], or "".
func Undeliverable(s signal.Signal, fate string, reason error) Line {
	return warn("%s cannot be delivered%s: %v", s, fate, reason)
}

// UndeliverableToo is Undeliverable for a signal that fails for the same reason as other, about
// which the line first was.
func UndeliverableToo(first Line, s, other signal.Signal) Line {
	return warn("%s cannot be delivered either, for the same reason as %s", s, other).as(first.Cause())
}

// WaitsOnDisk is what happens to items that cannot be delivered, with a spool.
const WaitsOnDisk = " and wait on disk"

// IsRetried is what happens to them without one. setting sets the limit.
func IsRetried(s signal.Signal, limit time.Duration, setting string) string {
	request := "batch"
	if s == signal.Metrics {
		request = "export"
	}
	return ": each " + request + " is retried for " + limit.String() + " (" + setting +
		") and then lost, unless there is a spool (TELEMETRY_SPOOL_DIR)"
}

// DeliveredAgain says that requests of a signal succeed again, and what the outage has cost: lost
// items by reason, the largest number first, as [Losses] has them.
func DeliveredAgain(s signal.Signal, after time.Duration, kept, lost int64, losses string) Line {
	keeping := "were kept and are being sent"
	if kept == 1 {
		keeping = "was kept and is being sent"
	}
	cause := s.String() + " are delivered again"
	l := info("%s after %v: %s %s, %s", cause, rounded(after), Count(kept, s.Unit(), s.Units()), keeping,
		losses).as(cause)
	if lost > 0 {
		l = l.at(slog.LevelWarn)
	}
	return l.with(cost(after, kept, lost)...)
}

// RefusedAgain says that the server answers again after an outage, and refuses the requests.
func RefusedAgain(s signal.Signal, after time.Duration, kept, lost int64, losses string, refusal error) Line {
	l := warn("%s reach the server again after %v, but it refuses them: %v; %s during the outage", s, rounded(after),
		refusal, losses)
	return l.as(s.String() + " reach the server again, but it refuses them").with(cost(after, kept, lost)...)
}

func cost(after time.Duration, kept, lost int64) []slog.Attr {
	return []slog.Attr{slog.String("after", rounded(after).String()), slog.Int64("kept", kept),
		slog.Int64("lost", lost)}
}

// Losses names the reasons for which items were lost, in their order.
func Losses(total int64, reasons []string, items map[string]int64) string {
	if len(reasons) == 0 {
		return "none lost"
	}
	named := reasons
	if len(reasons) > 1 {
		named = nil
		for _, reason := range reasons {
			named = append(named, Thousands(items[reason])+" "+reason)
		}
	}
	return Thousands(total) + " lost (" + strings.Join(named, ", ") + ")"
}

// ExportFailed is about an export that went wrong without losing an item.
func ExportFailed(s signal.Signal, err error) Line { return warn("%s: %v", s, err) }

// Lost says that items of a signal were lost. Later losses with the same cause are added up; ""
// means the reason itself.
func Lost(s signal.Signal, items int64, cause string, reason error) Line {
	l := fail("%s lost: %v", were(items, s), reason)
	why := strings.TrimPrefix(l.text, were(items, s)+" lost: ")
	if cause == "" {
		cause = Cause(why)
	}
	l.lost = &Loss{Cause: LossCause(s, cause), Items: items, more: func(items int64, within, since string) string {
		more := s.Units() + " were"
		if items == 1 {
			more = s.Unit() + " was"
		}
		return Thousands(items) + " more " + more + " lost in the last " + within + ", since " + since + ": " + why
	}}
	return l
}

// LossCause is the key under which losses of a signal are added up.
func LossCause(s signal.Signal, cause string) string { return "lost " + s.Units() + " " + cause }

// LostTogether says what several signals lost for the same reason. counts are such as "3 spans".
func LostTogether(counts []string, reason error) Line {
	return fail("%s were lost: %v", Listed(counts), reason)
}

// were is the subject of a loss.
func were(items int64, s signal.Signal) string {
	if items == 1 {
		return "1 " + s.Unit() + " was"
	}
	return Thousands(items) + " " + s.Units() + " were"
}

// EndpointIsFine says that the probe found nothing wrong with an endpoint. signals are those that
// share it.
func EndpointIsFine(signals []string, address string) Line {
	return info("%s: %s accepts requests", Listed(signals), address).at(slog.LevelDebug)
}

// EndpointIsNot says what the probe found, with a sentence from sentences.go.
func EndpointIsNot(signals []string, sentence string) Line {
	return warn("%s: %s", Listed(signals), sentence)
}

// CredentialsNotRenewed is about a token or certificate file that cannot be read again.
func CredentialsNotRenewed(err error) Line { return warn("credentials could not be reloaded: %v", err) }

// SpoolUnwritable says that the spool cannot take requests.
func SpoolUnwritable(err error) Line {
	return warn("the spool cannot be written, so undelivered data is kept only in memory: %v", err)
}

// SpoolWritable says that it can again.
func SpoolWritable() Line { return warn("the spool is writable again") }

// SpoolFull says that the oldest requests make room for newer ones.
func SpoolFull() Line { return warn("the spool is full: dropping its oldest requests") }

// SpoolFullAndStuck says that they cannot.
func SpoolFullAndStuck(err error) Line {
	return warn("the spool is full, and its oldest file cannot be removed: %v", err)
}

// SpoolFilesLeft is about files that this process cannot send: of a newer version of this library,
// too large for its limit, or damaged and not movable. example is one of them, with the reason.
func SpoolFilesLeft(files int, example string) Line {
	stay := "are"
	if files == 1 {
		stay = "is"
	}
	return warn("%s cannot be sent and %s left in place, such as %s", Count(int64(files), "spool file", "spool files"),
		stay, example)
}

// SpoolFileGone is about a file that was damaged and has disappeared.
func SpoolFileGone(err error) Line { return warn("a damaged spool file has disappeared: %v", err) }

// SpoolFileSetAside is about a damaged file.
func SpoolFileSetAside(to string, err error) Line {
	return warn("a spool file is unreadable and was moved to %s: %v", to, err)
}

// SpoolFileDamaged is about a damaged file that cannot be moved.
func SpoolFileDamaged(err error) Line { return warn("%v", err) }

// SpoolFileSent is about a file that is no longer needed and cannot be removed.
func SpoolFileSent(err error) Line {
	return warn("a spool file is no longer needed but cannot be removed, so the next process will send it again: %v",
		err)
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
