package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/sampling"
)

// kind defines how values of one type are parsed from the environment, checked and shown.
type kind[T any] struct {
	want  string // what is expected, in words
	parse func(text string) (T, error)
	check func(T) error
	show  func(T) string
	// add combines the value of an option with that of the variable; nil: the option wins.
	add func(option, variable T) T
	// quote returns an invalid text as it can be shown, if it may be a secret; nil: as it is.
	quote func(text string) string
	// rest returns the valid part of an invalid value, if it has one; nil: an invalid value is
	// ignored.
	rest func(T) (T, bool)
	// secret values are never shown, even if they are invalid.
	secret bool
}

// partialError is a parse error that leaves a valid part of the value.
type partialError struct{ error }

// selfExplained is an error whose text names the invalid value and what was expected.
type selfExplained struct{ error }

var (
	errOutOfRange = errors.New("out of range")
	errNil        = selfExplained{errors.New("must not be nil")}
)

// Upper limits. A larger value is a typing mistake, and could use up the memory of the process.
const (
	maxItems    = 1 << 20
	maxInFlight = 1 << 10
	maxBytes    = min(1<<40, math.MaxInt) // an int may have 32 bits
	MaxDuration = 24 * time.Hour
)

func count(least, most int) kind[int] {
	return kind[int]{
		want:  fmt.Sprintf("must be a whole number from %d to %d", least, most),
		parse: strconv.Atoi,
		check: func(n int) error {
			if n < least || n > most {
				return errOutOfRange
			}
			return nil
		},
		show: strconv.Itoa,
	}
}

// byteSize is a number of bytes.
func byteSize() kind[int64] {
	return kind[int64]{
		want:  "must be a whole number of bytes, at least 1",
		parse: func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) },
		check: func(n int64) error {
			if n < 1 {
				return errOutOfRange
			}
			return nil
		},
		show: func(n int64) string { return strconv.FormatInt(n, 10) },
	}
}

// limit is a count for which -1 means no limit, as in the SDK.
func limit() kind[int] {
	k := count(-1, math.MaxInt32)
	k.want = "must be a whole number of at least 0, or -1 for no limit"
	return k
}

// milliseconds is a duration, which variables have in milliseconds, as the specification requires.
// Options have a time.Duration.
func milliseconds() kind[time.Duration] {
	return kind[time.Duration]{
		want: "must be a whole number of milliseconds, from 1 to 86400000 (a day)",
		parse: func(text string) (time.Duration, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err == nil && (n < 1 || n > int64(MaxDuration/time.Millisecond)) {
				err = errOutOfRange
			}
			return time.Duration(n) * time.Millisecond, err
		},
		check: func(d time.Duration) error {
			if d < time.Millisecond || d > MaxDuration {
				return errOutOfRange
			}
			return nil
		},
		show: time.Duration.String,
	}
}

func ratio() kind[float64] {
	return kind[float64]{
		want:  "must be a number from 0 to 1",
		parse: func(text string) (float64, error) { return strconv.ParseFloat(text, 64) },
		check: func(f float64) error {
			if !(f >= 0 && f <= 1) {
				return errOutOfRange
			}
			return nil
		},
		show: func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) },
	}
}

// tracesPerSecond has the range of Sampling.TracesPerSecond, and slowThreshold that of
// Sampling.SlowThreshold. An option is checked as a whole Sampling, by samplerName.
func tracesPerSecond() kind[float64] {
	k := ratio()
	k.want = "must be a number of traces per second, more than 0 and at most 1000000"
	k.check = func(f float64) error {
		if !(f > 0) || (sampling.Config{TracesPerSecond: f}).Validate() != nil {
			return errOutOfRange
		}
		return nil
	}
	return k
}

func slowThreshold() kind[time.Duration] {
	return kind[time.Duration]{
		want: "must be a whole number of milliseconds, from 1 to 600000 (10 minutes), or -1 for no threshold",
		parse: func(text string) (time.Duration, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err == nil && (n < -1 || n == 0 || n > int64(MaxDuration/time.Millisecond)) {
				err = errOutOfRange
			}
			return time.Duration(n) * time.Millisecond, err
		},
		check: func(d time.Duration) error {
			if (sampling.Config{SlowThreshold: d}).Validate() != nil {
				return errOutOfRange
			}
			return nil
		},
		show: func(d time.Duration) string {
			if d < 0 {
				return "off"
			}
			return d.String()
		},
	}
}

// enum is one of several names, in any case, as the specification requires.
func enum[T ~string](values ...T) kind[T] {
	return kind[T]{
		want:  "must be " + oneOf(values),
		parse: func(text string) (T, error) { return T(strings.ToLower(text)), nil },
		check: func(v T) error {
			if !slices.Contains(values, v) {
				return newUnknownName("", string(v), asStrings(values))
			}
			return nil
		},
		show: func(v T) string { return string(v) },
	}
}

// oneOf lists values in words: a, b or c.
func oneOf[T ~string](values []T) string {
	names := asStrings(values)
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func asStrings[T ~string](values []T) []string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return names
}

func boolean() kind[bool] {
	return kind[bool]{
		want: "must be true or false",
		parse: func(text string) (bool, error) {
			switch strings.ToLower(text) {
			case "true":
				return true, nil
			case "false":
				return false, nil
			}
			return false, errOutOfRange
		},
		check: func(bool) error { return nil },
		show:  strconv.FormatBool,
	}
}

func text() kind[string] {
	return kind[string]{
		want:  "must not be empty",
		parse: func(text string) (string, error) { return text, nil },
		check: func(s string) error {
			if strings.TrimSpace(s) == "" {
				return errOutOfRange
			}
			return nil
		},
		show: func(s string) string { return s },
	}
}

func logLevel() kind[slog.Leveler] {
	return kind[slog.Leveler]{
		want: "must be debug, info, warn or error",
		parse: func(text string) (slog.Leveler, error) {
			if strings.EqualFold(text, "warning") {
				return slog.LevelWarn, nil
			}
			var level slog.Level
			err := level.UnmarshalText([]byte(text))
			if err != nil {
				err = newUnknownName("", text, []string{"debug", "info", "warn", "error"})
			}
			return level, err
		},
		check: func(l slog.Leveler) error {
			if IsNil(l) {
				return errNil
			}
			return nil
		},
		show: func(l slog.Leveler) string { return strings.ToLower(l.Level().String()) },
	}
}

// levelNone is above every level, so nothing is logged.
const levelNone = slog.Level(math.MaxInt32)

func selfLogLevel() kind[slog.Level] {
	names := map[string]slog.Level{
		"none": levelNone, "error": slog.LevelError, "warn": slog.LevelWarn, "warning": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug,
	}
	return kind[slog.Level]{
		want: "must be none, error, warn, info or debug",
		parse: func(text string) (slog.Level, error) {
			level, ok := names[strings.ToLower(text)]
			if !ok {
				return 0, newUnknownName("", text, slices.Sorted(maps.Keys(names)))
			}
			return level, nil
		},
		check: func(slog.Level) error { return nil },
		show: func(l slog.Level) string {
			if l == levelNone {
				return "none"
			}
			return strings.ToLower(l.String())
		},
	}
}
