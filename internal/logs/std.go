package logs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// stdWriter is the output of package log while a service's slog default is this library's. What
// log.Print writes goes where slog sends it. So do the lines of a logger that was taken from
// slog.Default before Init: slog's first handler writes level, message and attributes into one text
// and hands it to package log. The record is restored from that text: levels, whole numbers and
// booleans, and groups as parts of a key. The context is lost, and with it the ids of the span.
type stdWriter struct {
	plain     io.Writer // slog's own, for lines that come from package log
	handler   slog.Handler
	recovered func(place string)
}

// NewStdWriter returns a writer that hands lines of package log to plain, and records of slog's
// first handler to handler. recovered is told the place of each such call; it runs under the lock
// of package log and must not use it.
func NewStdWriter(plain io.Writer, handler slog.Handler, recovered func(place string)) io.Writer {
	return &stdWriter{plain: plain, handler: handler, recovered: recovered}
}

// Write takes one line.
func (w *stdWriter) Write(line []byte) (int, error) {
	level, rest, ok := cutLevel(string(bytes.TrimSuffix(line, []byte{'\n'})))
	if !ok {
		return w.plain.Write(line)
	}
	caller, ok := callerOfSlog()
	if !ok {
		return w.plain.Write(line)
	}
	w.recovered(path.Base(caller.File) + ":" + strconv.Itoa(caller.Line))
	ctx := context.Background()
	if !w.handler.Enabled(ctx, level) {
		return len(line), nil
	}
	message, attrs := cutAttrs(rest)
	r := slog.NewRecord(time.Now(), level, message, caller.PC)
	r.AddAttrs(attrs...)
	return len(line), w.handler.Handle(ctx, r)
}

// cutLevel takes the level off the front of a line that slog's first handler has written.
func cutLevel(line string) (level slog.Level, rest string, ok bool) {
	word, rest, ok := strings.Cut(line, " ")
	if !ok || len(word) > len("ERROR-2147483648") {
		return 0, "", false
	}
	for _, name := range []string{"DEBUG", "INFO", "WARN", "ERROR"} {
		if strings.HasPrefix(word, name) {
			return level, rest, level.UnmarshalText([]byte(word)) == nil
		}
	}
	return 0, "", false
}

// maxFrames is how many frames are searched for the one of slog, which is a few calls up from the
// writer.
const maxFrames = 16

// callerOfSlog finds the caller of a logger whose handler is slog's first, or nothing if package
// log itself was called.
func callerOfSlog() (caller runtime.Frame, found bool) {
	var pcs [maxFrames]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if found && !strings.HasPrefix(frame.Function, "log/slog.") {
			return frame, true
		}
		found = found || frame.Function == "log/slog.(*defaultHandler).Handle"
		if !more {
			return runtime.Frame{}, false
		}
	}
}

const (
	// maxRecovered is how long a text may be for its attributes to be looked for; beyond, it is a
	// message as a whole.
	maxRecovered = 4 << 10
	maxPairs     = 64
)

// cutAttrs takes the attributes off the end of a text. A message may end in something that looks
// like one.
func cutAttrs(s string) (message string, attrs []slog.Attr) {
	if len(s) > maxRecovered {
		return s, nil
	}
	for i := range len(s) {
		if s[i] != ' ' {
			continue
		}
		if attrs, ok := parsePairs(s[i+1:]); ok {
			return s[:i], attrs
		}
	}
	return s, nil
}

// parsePairs reads key=value key=value to the end. Most texts fail at their first word.
func parsePairs(s string) (attrs []slog.Attr, ok bool) {
	for len(attrs) < maxPairs {
		key, rest, ok := cutKeyword(s)
		if !ok {
			return nil, false
		}
		value, rest, ok := cutWord(rest, false)
		if !ok {
			return nil, false
		}
		attrs = append(attrs, slog.Attr{Key: key, Value: value})
		if rest == "" {
			return attrs, true
		}
		if rest[0] != ' ' {
			return nil, false
		}
		s = rest[1:]
	}
	return nil, false
}

func cutKeyword(s string) (key, rest string, ok bool) {
	value, rest, ok := cutWord(s, true)
	if !ok || !strings.HasPrefix(rest, "=") {
		return "", "", false
	}
	return value.String(), rest[1:], true
}

// cutWord reads a word as slog writes it: quoted where it has blanks, quotes or an equals sign.
func cutWord(s string, isKey bool) (value slog.Value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return slog.Value{}, "", false
		}
		text, err := strconv.Unquote(quoted)
		return slog.StringValue(text), s[len(quoted):], err == nil
	}
	end := strings.IndexFunc(s, isQuoted)
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	if isKey {
		return slog.StringValue(word), s[end:], word != ""
	}
	return typed(word), s[end:], word != "" // slog quotes the empty text
}

// isQuoted tells which characters make slog quote a word.
func isQuoted(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == '"' || r == '='
	}
	return r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// typed gives whole numbers and booleans their type back.
func typed(word string) slog.Value {
	if n, err := strconv.ParseInt(word, 10, 64); err == nil && strconv.FormatInt(n, 10) == word {
		return slog.Int64Value(n)
	}
	switch word {
	case "true", "false":
		return slog.BoolValue(word == "true")
	}
	return slog.StringValue(word)
}
