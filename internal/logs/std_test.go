package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAttributesAreReadBackFromText(t *testing.T) {
	for _, tc := range []struct {
		text, message string
		attrs         []slog.Attr
	}{
		{"card declined order.id=7", "card declined", []slog.Attr{slog.Int("order.id", 7)}},
		{`m a="b c" "k k"=true n=-1 e=""`, "m",
			[]slog.Attr{slog.String("a", "b c"), slog.Bool("k k", true), slog.Int("n", -1), slog.String("e", "")}},
		{"no attributes", "no attributes", nil},
		{"a=1 in the middle", "a=1 in the middle", nil},
		{"leading zeros id=007", "leading zeros", []slog.Attr{slog.String("id", "007")}},
		{"not slog's: a=", "not slog's: a=", nil},
		{`not slog's: a="b`, `not slog's: a="b`, nil},
		{"two  a=1", "two ", []slog.Attr{slog.Int("a", 1)}},
		{" a=1", "", []slog.Attr{slog.Int("a", 1)}},
		{strings.Repeat("x", maxRecovered-4) + " a=1", strings.Repeat("x", maxRecovered-4),
			[]slog.Attr{slog.Int("a", 1)}},
		{strings.Repeat("x", maxRecovered-3) + " a=1", strings.Repeat("x", maxRecovered-3) + " a=1", nil},
	} {
		message, attrs := cutAttrs(tc.text)
		require.Equal(t, tc.message, message)
		require.Equal(t, fmt.Sprint(tc.attrs), fmt.Sprint(attrs))
	}
}

func TestReadingBackIsBoundedInTime(t *testing.T) {
	for _, s := range []string{`a="`, "a=1 ", `"" `, "  ", `"\`} {
		began := time.Now()
		cutAttrs(strings.Repeat(s, maxRecovered/len(s)))
		require.Less(t, time.Since(began), 2*time.Second, s)
	}
}

func FuzzAttributesAreReadBackFromText(f *testing.F) {
	f.Add("message", "key", "value", "k2", int64(7))
	f.Add(`m "q`, "k k", "\xff=\n", "é", int64(-1))
	f.Fuzz(func(t *testing.T, message, k1, v1, k2 string, n int64) {
		var buf bytes.Buffer
		h := slog.NewTextHandler(&buf, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}})
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, "", 0)
		r.AddAttrs(slog.Group("g", slog.String(k1, v1), slog.Int64(k2, n)))
		require.NoError(t, h.Handle(context.Background(), r))
		written := message + " " + strings.TrimSuffix(buf.String(), "\n")
		got, attrs := cutAttrs(written)
		require.True(t, strings.HasPrefix(written, got))
		if len(written) <= maxRecovered {
			require.GreaterOrEqual(t, len(attrs), 2, written)
			require.True(t, strings.HasPrefix(message, got), "no attribute is taken for a part of the message")
		}
	})
}
