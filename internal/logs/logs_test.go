package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
)

// keeper is the end of a chain of handlers.
type keeper struct {
	slog.Handler
	records []slog.Record
}

func (k *keeper) Enabled(context.Context, slog.Level) bool { return true }

func (k *keeper) Handle(_ context.Context, r slog.Record) error {
	k.records = append(k.records, r)
	return nil
}

// walked is what the branches get of a value.
func walked(t testing.TB, value any) slog.Value {
	t.Helper()
	k := &keeper{}
	require.NoError(t, NewHandler(k).Handle(context.Background(), record(value)))
	var v slog.Value
	k.records[0].Attrs(func(a slog.Attr) bool {
		v = a.Value
		return true
	})
	return v
}

func record(value any) slog.Record {
	r := slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0)
	r.AddAttrs(slog.Any("value", value))
	return r
}

// lines are the line of the stock handler, and of the same behind the walk.
func lines(t testing.TB, value any) (stock, ours string) {
	t.Helper()
	var a, b bytes.Buffer
	require.NoError(t, slog.NewJSONHandler(&a, nil).Handle(context.Background(), record(value)))
	require.NoError(t, NewHandler(slog.NewJSONHandler(&b, nil)).Handle(context.Background(), record(value)))
	return a.String(), b.String()
}

type (
	status  int
	textual struct{ Inner string }
	marshal struct{ Inner string }
	both    struct{ code int }
	onAddr  struct{ N int }
	named   string
	tagged  struct {
		Plain   string
		Renamed int    `json:"renamed"`
		Dropped string `json:"-"`
		//lint:ignore SA5008 This is the form whose name is a dash.
		Dash     int            `json:"-,"`
		Empty    string         `json:"empty,omitempty"`
		Zero     time.Time      `json:"zero,omitzero"`
		Quoted   int64          `json:"quoted,string"`
		Pointer  *int           `json:"pointer"`
		Maybe    *string        `json:"maybe,omitempty"`
		Map      map[string]any `json:"map"`
		Iface    any
		hidden   string
		On       onAddr
		Duration time.Duration
	}
	base    struct{ ID, Name string }
	derived struct {
		base
		*textual
		Name string
		At   time.Time
	}
)

func (s status) String() string                { return "PAID" }
func (t textual) MarshalText() ([]byte, error) { return []byte("text of " + t.Inner), nil }
func (m marshal) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"z": [1, 2.50, -1e3, null, true], "a": {"inner": %q}}`, m.Inner), nil
}
func (b both) Error() string                   { return "both" }
func (b both) MarshalJSON() ([]byte, error)    { return fmt.Appendf(nil, `{"code":%d}`, b.code), nil }
func (a *onAddr) MarshalText() ([]byte, error) { return []byte("by address"), nil }

func TestJSONIsThatOfTheStockHandler(t *testing.T) {
	one, at := 1, time.Date(2026, 11, 26, 1, 2, 3, 4, time.UTC)
	link, err := url.Parse("https://user@example.com/a?b=c")
	require.NoError(t, err)
	for name, value := range map[string]any{
		"text": "a<b>&\u2028\"\\\n\xff", "int": -1, "uint64": uint64(math.MaxUint64), "float": 1.5, "bool": true,
		"nothing": nil,
		"bytes":   []byte("raw\xff"), "duration": time.Second, "time": at, "level": slog.LevelWarn, "named": named("n"),
		"error": errors.New("no"), "wrapped": fmt.Errorf("outer: %w", fs.ErrNotExist), "an error with JSON": both{7},
		"enum": status(3), "pointer": &one, "big": big.NewInt(1 << 60), "raw": json.RawMessage(`{"b":1,"a":[]}`),
		"number": json.Number("1.50"), "URL": link, "text marshaler": textual{"x"}, "marshaler": marshal{"x"},
		"ints": []int{1, 2}, "none": []int(nil), "empty": []int{}, "array": [3]byte{1, 2, 3},
		"any":     []any{1, "a", nil, 2.5, []any{}},
		"float32": []float32{0.1, 1e-7, 1e21, 3}, "floats": []float64{0, 1e20, 1e21, 1e-6, 1e-7, -1.25, math.MaxFloat64,
			5e-324},
		"map":      map[string]any{"b": 1, "a": map[string]int{"y": 1, "x": 2}, "": nil, "<": "é"},
		"nil map":  map[string]int(nil),
		"int keys": map[int]string{10: "a", 9: "b"}, "text keys": map[textual]int{{"b"}: 1, {"a"}: 2},
		"struct": tagged{Plain: "p", Quoted: 9, Map: map[string]any{"k": one}, Iface: at, hidden: "h",
			Duration: 5},
		"pointer to struct": &tagged{Pointer: &one, Iface: &one, hidden: "h"},
		"embedded":          derived{base: base{"id", "inner"}, Name: "outer", At: at},
		"structs":           []tagged{{}, {Renamed: 1}},
		"group":             slog.GroupValue(slog.Any("m", map[string]int{"a": 1}), slog.Group("g", "e", at)),
		"anonymous":         struct{ A, b int }{1, 2},
		"enums":             map[status][]status{1: {2}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "embedded" { // embedded pointers are nil: encoding/json calls MarshalText on them
				value = derived{base: base{"id", "inner"}, textual: &textual{"t"}, Name: "outer"}
			}
			stock, ours := lines(t, value)
			require.Equal(t, stock, ours)
		})
	}
}

func FuzzJSONIsThatOfTheStockHandler(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,"x",null,{"b":false}]}`, `"\u0000\ud800"`, `[[[[]]]]`, `1e400`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil ||
			bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxDepth/2 || len(data) > maxElements {
			return
		}
		stock, ours := lines(t, value)
		require.Equal(t, stock, ours)
	})
}

// What the stock handler does not write at all, or without what is in it.
func TestJSONThatTheStockHandlerDoesNotHave(t *testing.T) {
	for _, tc := range []struct {
		name  string
		value any
		want  string
	}{
		{"NaN", math.NaN(), `"NaN"`},
		{"infinities", []float64{math.Inf(1), math.Inf(-1), 1}, `["+Inf","-Inf",1]`},
		{"NaN in a struct", struct{ F float32 }{float32(math.NaN())}, `{"F":"NaN"}`},
		{"a channel beside others", map[string]any{"c": make(chan int), "n": 1},
			`{"c":"!ERROR: a value of type chan int cannot be shown","n":1}`},
		{"errors", []error{errors.New("a"), nil, fs.ErrExist}, `["a",null,"file already exists"]`},
		{"a key that is a struct", map[base]int{{"i", "n"}: 1}, `{"{ID:i Name:n}":1}`},
		{"complex", complex(1, -2), `"(1-2i)"`},
		{"invalid JSON of its own", json.RawMessage(`{"a":`),
			`"!ERROR: MarshalJSON returned invalid JSON: unexpected EOF"`},
		{"two values of its own", json.RawMessage(`1 2`),
			`"!ERROR: MarshalJSON returned invalid JSON: more than one JSON value"`},
		{"an attribute", attribute.MapValue(attribute.String("a", "b"),
			attribute.Slice("s", attribute.BoolValue(true))), `{"a":"b","s":[true]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, ours := lines(t, tc.value)
			require.Contains(t, ours, `"value":`+tc.want+"}\n")
		})
	}
}

func TestTextAndOTLP(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	link, err := url.Parse("https://example.com/a")
	require.NoError(t, err)
	for _, tc := range []struct {
		name  string
		value any
		text  string
		otlp  attribute.Value
	}{
		{"struct", struct {
			A int
			b string
		}{1, "x"}, "{A:1 b:x}", attribute.StringValue("{A:1 b:x}")},
		{"pointer to a struct: others may change it", &struct{ A, b int }{1, 2}, "{A:1}",
			attribute.StringValue("{A:1}")},
		{"nothing to see", &both{}, "both", attribute.StringValue("both")},
		{"map", map[string]any{"n": uint64(math.MaxUint64), "l": []any{1.5, nil}},
			"map[l:[1.5 <nil>] n:18446744073709551615]",
			attribute.MapValue(attribute.Slice("l", attribute.Float64Value(1.5), attribute.Value{}),
				attribute.String("n", "18446744073709551615"))},
		{"String", status(1), "PAID", attribute.StringValue("PAID")},
		{"String by address", link, "https://example.com/a", attribute.StringValue("https://example.com/a")},
		{"durations and times", []any{time.Second, at}, "[1s 2026-11-26T01:02:03Z]",
			attribute.SliceValue(attribute.Int64Value(1e9), attribute.Int64Value(at.UnixNano()))},
		{"JSON of its own", marshal{"i"}, "map[z:[1 2.50 -1e3 <nil> true] a:map[inner:i]]", attribute.MapValue(
			attribute.Slice("z", attribute.IntValue(1), attribute.Float64Value(2.5), attribute.Float64Value(-1000),
				attribute.Value{}, attribute.BoolValue(true)),
			attribute.Map("a", attribute.String("inner", "i")))},
		{"numbers", []any{json.Number("9223372036854775808"), float32(0.5), uint8(3)}, "[9223372036854775808 0.5 3]",
			attribute.SliceValue(attribute.StringValue("9223372036854775808"), attribute.Float64Value(0.5),
				attribute.IntValue(3))},
		{"NaN", math.NaN(), "NaN", attribute.Float64Value(math.NaN())},
		{"bytes in a list", [][]byte{[]byte("ab")}, "[ab]",
			attribute.SliceValue(attribute.ByteSliceValue([]byte("ab")))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := walked(t, tc.value)
			if err, isError := v.Any().(error); isError {
				require.Equal(t, tc.text, err.Error())
				return
			}
			n := v.Any().(*node)
			require.Equal(t, tc.text, n.String())
			require.Equal(t, tc.otlp.String(), n.Value().String())
			require.Equal(t, tc.otlp.Type(), n.Value().Type())
		})
	}
}

func TestAPointerShowsItsTypeWhereAllIsHidden(t *testing.T) {
	n := walked(t, &struct{ a int }{1}).Any().(*node)
	require.Equal(t, "struct { a int }", n.String())
	require.JSONEq(t, "{}", string(n.appendJSON(nil, false)))
}

func TestPlainRecordsPassUnchanged(t *testing.T) {
	k := &keeper{}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "m", 0)
	r.AddAttrs(slog.String("a", "b"), slog.Int("n", 1), slog.Group("g", "x", 1.5), slog.Any("nil", nil))
	h := NewHandler(k)
	require.NoError(t, h.Handle(t.Context(), r))
	require.Equal(t, r, k.records[0])
	require.Zero(t, testing.AllocsPerRun(100, func() {
		k.records = k.records[:0]
		_ = h.Handle(context.Background(), r)
	}))
}

func TestBoundsOfARecordsValues(t *testing.T) {
	count := func(n *node) int { return len(n.items) }
	for _, tc := range []struct {
		name string
		make func(n int) any
	}{
		{"slice", func(n int) any { return make([]int, n) }},
		{"map", func(n int) any {
			m := map[int]bool{}
			for i := range n {
				m[i] = true
			}
			return m
		}},
		{"JSON of its own", func(n int) any { return json.RawMessage("[1" + strings.Repeat(",1", n-1) + "]") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := walked(t, tc.make(maxValueElements)).Any().(*node)
			require.Equal(t, maxValueElements, count(at))
			require.NotContains(t, at.String(), cutKey)
			past := walked(t, tc.make(maxValueElements+1)).Any().(*node)
			require.Equal(t, maxValueElements+1, count(past), "the last one is the note")
			require.Contains(t, past.String(), cutNote)
		})
	}
	t.Run("bytes", func(t *testing.T) {
		at := walked(t, []string{strings.Repeat("ä", maxValueBytes/2)}).Any().(*node)
		require.Len(t, at.items[0].text, maxValueBytes)
		past := walked(t, []string{strings.Repeat("ä", maxValueBytes/2) + "x", "y"}).Any().(*node)
		require.Len(t, past.items[0].text, maxValueBytes+len("…"))
		require.Equal(t, cutNote, past.items[1].text)
		require.Len(t, walked(t, errors.New(strings.Repeat("x", maxValueBytes+1))).Any().(error).Error(),
			maxValueBytes+len("…"))
	})
	t.Run("a number behind the last byte", func(t *testing.T) {
		almost := strings.Repeat("x", maxValueBytes-3)
		for name, value := range map[string]any{
			"of encoding/json": []any{almost, json.Number("1234567")},
			"of a marshaler":   json.RawMessage(`["` + almost + `",1234567]`),
		} {
			_, ours := lines(t, value)
			require.Contains(t, ours, almost+`","123…"]`, name)
		}
	})
	t.Run("of all attributes of a record", func(t *testing.T) {
		k := &keeper{}
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0)
		for i := range 4 {
			r.AddAttrs(slog.Any(fmt.Sprint(i), make([]int, maxValueElements)), slog.Int("plain", i))
		}
		for range 10 {
			r.AddAttrs(slog.Any("error", errors.New(strings.Repeat("x", maxValueBytes))))
		}
		require.NoError(t, NewHandler(k).Handle(t.Context(), r))
		elements, size, plain := 0, 0, 0
		k.records[0].Attrs(func(a slog.Attr) bool {
			switch v := a.Value.Any().(type) {
			case *node:
				elements += len(v.items)
			case error:
				size += len(v.Error())
			default:
				plain++
			}
			return true
		})
		require.Equal(t, maxElements+2, elements, "two notes")
		require.Equal(t, maxBytes+2*len("…"), size)
		require.Equal(t, 4, plain)
	})
}

func BenchmarkValues(b *testing.B) {
	million := map[string]int{}
	for i := range 1_000_000 {
		million[fmt.Sprint(i)] = i
	}
	for _, tc := range []struct {
		name  string
		value any
	}{
		{"string", "a"}, {"error", errors.New("no")}, {"struct", tagged{Plain: "p"}},
		{"map", map[string]any{"a": 1, "b": "c"}},
		{"million", million},
	} {
		r := record(tc.value)
		discard := &bytes.Buffer{}
		for name, h := range map[string]slog.Handler{"stock": slog.NewJSONHandler(discard, nil),
			"walked": NewHandler(slog.NewJSONHandler(discard, nil))} {
			b.Run(tc.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					discard.Reset()
					_ = h.Handle(context.Background(), r)
				}
			})
		}
	}
}

// circular is what a connection is to the error that holds it.
type circular struct {
	next *circular
	_    [200]any // more than the visits of a budget
}

type heldError struct {
	conn *circular
	err  error
}

func (e *heldError) Error() string { return "send: " + e.err.Error() }

// An error below the top is asked for its text, whatever it holds beside other errors.
func TestErrorsHoldConnections(t *testing.T) {
	conn := &circular{next: &circular{}}
	conn.next.next = conn
	shared := errors.New("reset by peer")
	err := error(&heldError{conn, shared})
	for range 5 {
		err = &heldError{conn, err}
	}
	_, ours := lines(t, []any{err, err})
	require.Equal(t, 12, strings.Count(ours, "send: "), ours)
}

// wrapping is an error whose Error, unlike its Unwrap, works on a nil pointer.
type wrapping struct{ cause error }

func (w *wrapping) Error() string { return "wrapped" }
func (w *wrapping) Unwrap() error { return w.cause }

func TestUnwrapOfANilPointerIsNotCalled(t *testing.T) {
	v := walked(t, (*wrapping)(nil))
	require.Equal(t, &failure{text: "wrapped", kind: "*logs.wrapping"}, v.Any())
	v = walked(t, fmt.Errorf("%w", (*wrapping)(nil)))
	require.Equal(t, &failure{text: "wrapped", kind: "*logs.wrapping"}, v.Any())
}

// optional has the methods of metricdata.Extrema. Both panic, as a service's own may: the log call
// must survive each of them.
type optional struct{}

func (optional) Value() (float64, bool)       { panic("no value") }
func (optional) MarshalJSON() ([]byte, error) { panic("no JSON") }

func TestValueThatPanicsAfterMarshalJSON(t *testing.T) {
	require.Equal(t, "!PANIC: no JSON", walked(t, optional{}).String())
}
