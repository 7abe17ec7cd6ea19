package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/redact"
)

// choices makes a logger and a record of the bytes of a fuzz test.
type choices struct {
	data []byte
	text string
}

func (c *choices) next(n int) int { return int(c.take(1)) % n }

func (c *choices) bits() uint64 { return c.take(8) }

func (c *choices) take(n int) (bits uint64) {
	n = min(n, len(c.data))
	for _, b := range c.data[:n] {
		bits = bits<<8 | uint64(b)
	}
	c.data = c.data[n:]
	return bits
}

func (c *choices) key() string {
	keys := []string{"a", "password", "order.id", "card", "", "k\"\n\x00", c.text}
	return keys[c.next(len(keys))]
}

func (c *choices) value(depth int) slog.Value {
	values := []any{
		c.text, "Bearer abcdefghijklmnop1234", "4111111111111111", "\u2028\xff\b\f<&>", nil, true,
		int64(c.bits()), c.bits(), math.Float64frombits(c.bits()), 4111111111111111.0, float32(0.1), 1e21, -1e-7,
		time.Duration(c.bits()), time.Unix(int64(c.bits()>>20), int64(c.bits()%1e9)).UTC(), slog.LevelWarn,
		[]byte(c.text), errors.New(c.text), both{7}, panicking{}, (*panicking)(nil), textual{c.text},
		json.RawMessage(c.text), map[string]any{"token": c.text, "n": 1}, []any{1, c.text, nil}, func() {},
		&slog.Source{File: c.text, Line: c.next(3)}, (*slog.Source)(nil), slog.StringValue(c.text),
		derived{Name: c.text}, marshal{c.text}, noLogValue{},
	}
	i := c.next(len(values) + 4)
	if i < len(values) {
		return slog.AnyValue(values[i])
	}
	if depth == 0 {
		return slog.IntValue(i)
	}
	return slog.GroupValue(c.attrs(depth - 1)...)
}

// attrs has one attribute at least that is written: slog's handler forgets a comma behind a group
// whose members are all empty.
func (c *choices) attrs(depth int) []slog.Attr {
	attrs := make([]slog.Attr, c.next(4), 5)
	for i := range attrs {
		attrs[i] = slog.Attr{Key: c.key(), Value: c.value(depth)}
	}
	return append(attrs, slog.Int("last", len(attrs)))
}

func FuzzConsoleLineIsThatOfTheStockHandler(f *testing.F) {
	redactor := redact.New(redact.Config{Keys: []string{"order.id"}, AllowKeys: []string{"card"}})
	for seed := range byte(40) {
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(i*i) * (seed + 1)
		}
		f.Add(data, "order placed", seed%2 == 0)
		f.Add(data, `{"password": "x", "n": 4111111111111111}`, seed%3 == 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, text string, masked bool) {
		var replace func([]string, slog.Attr) slog.Attr
		if masked {
			replace = redactor.SlogJSON
		}
		var stock, ours bytes.Buffer
		write := func(h slog.Handler) {
			c := &choices{data, text}
			level := slog.Level(c.next(20) - 8)
			r := slog.NewRecord(time.Unix(int64(c.bits()>>30), int64(c.bits()%1e9)).UTC(), level, c.text, 0)
			if c.next(2) == 0 {
				h = NewHandler(h)
			}
			for range c.next(5) {
				if c.next(2) == 0 {
					h = h.WithGroup(c.key())
				} else {
					h = h.WithAttrs(c.attrs(2))
				}
			}
			if c.next(4) > 0 {
				r.AddAttrs(c.attrs(3)...)
			}
			ctx := t.Context()
			if c.next(2) == 0 {
				ctx = withSpan(ctx)
			}
			require.NoError(t, h.Handle(ctx, r))
		}
		options := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: replace}
		write(&correlatedHandler{root: slog.NewJSONHandler(&stock, options)})
		write(NewConsoleHandler(&ours, false, slog.LevelDebug, replace))
		if !json.Valid(stock.Bytes()) { // such as a year of five digits
			require.True(t, json.Valid(ours.Bytes()), ours.String())
			return
		}
		require.Equal(t, stock.String(), ours.String())
	})
}

func TestConsoleTextIsThatOfTheStockHandler(t *testing.T) {
	var texts []string
	for c := range 256 {
		texts = append(texts, "a"+string([]byte{byte(c)})+"b", string(rune(c))+"ü")
	}
	for _, text := range append(texts, "", "\u2027\u2028\u2029\u202a", "\xe2\x80", "\ufffd", "😀", "\xf0\x9f") {
		var stock, ours bytes.Buffer
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, text, 0)
		r.AddAttrs(slog.String(text, text))
		require.NoError(t, slog.NewJSONHandler(&stock, nil).Handle(t.Context(), r))
		require.NoError(t, NewConsoleHandler(&ours, false, slog.LevelInfo, nil).Handle(t.Context(), r))
		require.Equal(t, stock.String(), ours.String())
	}
}

func TestConsoleGroupsAreThoseOfTheStockHandler(t *testing.T) {
	var stock, ours bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&stock, nil),
		NewConsoleHandler(&ours, false, slog.LevelInfo, nil)} {
		write := func(h slog.Handler, attrs ...slog.Attr) {
			r := slog.NewRecord(time.Time{}, slog.LevelWarn+1, "m", 0)
			r.AddAttrs(attrs...)
			require.NoError(t, h.Handle(t.Context(), r))
		}
		one := []slog.Attr{slog.Int("a", 1)}
		write(h.WithGroup("g").WithGroup("h"), one...)
		write(h.WithGroup("g").WithGroup("h"))
		write(h.WithGroup("g").WithAttrs(one).WithGroup("h"), slog.Int("b", 2))
		write(h.WithGroup("g").WithAttrs(one).WithGroup("h"))
		write(h.WithAttrs(one).WithGroup("g").WithAttrs(one).WithGroup("h").WithAttrs(one).WithAttrs(one), one...)
		write(h, slog.Group("", "a", 1), slog.Group("g", slog.Group("h", "b", 2), "c", 3))
	}
	require.Equal(t, stock.String(), ours.String())
}

// Where slog's handler writes invalid JSON, this one does not.
func TestConsoleLineIsAlwaysJSON(t *testing.T) {
	var buf bytes.Buffer
	logger := slog.New(NewConsoleHandler(&buf, false, slog.LevelInfo, nil))
	logger.Info("m", slog.Group("empty", slog.Attr{}), slog.Int("n", 1))
	logger.WithGroup("g").With(slog.Attr{}).Info("m", slog.Attr{})
	logger.Info("m", "year", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC))
	for i, want := range []string{`{"n":1}`, `{}`, `{"year":"!ERROR:time.Time year outside of range [0,9999]"}`} {
		line := decodeLines(t, buf.String())[i]
		for _, key := range []string{"time", "level", "msg"} {
			require.Contains(t, line, key)
			delete(line, key)
		}
		got, err := json.Marshal(line)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

// A line costs nothing but the text of the ids, which what masks may read.
func TestConsoleLineAllocations(t *testing.T) {
	ctx := withSpan(t.Context())
	for _, replace := range []func([]string, slog.Attr) slog.Attr{nil, redact.New(redact.Config{}).SlogJSON} {
		logger := slog.New(NewHandler(NewConsoleHandler(io.Discard, false, slog.LevelInfo, replace))).With("a", 1)
		most := 0.0
		if replace != nil {
			most = 1
		}
		require.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
			logger.LogAttrs(ctx, slog.LevelInfo, "m", slog.Float64("f", 129.95), slog.String("s", "x"),
				slog.Duration("d", time.Second))
		}), most, fmt.Sprint(replace == nil))
	}
}
