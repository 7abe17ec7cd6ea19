package logs

//lint:file-ignore SA5008 encoding/json ignores such names and options, and so must the handler

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
)

type (
	identified struct {
		ID string `json:"id"`
	}
	untagged struct{ X int }
	another  struct{ X int }
	renamed  struct {
		Y int `json:"X"`
	}
	spoken    int
	seven     int
	pointed   struct{ N int }
	bothKey   struct{ N int }
	refused   struct{ N int }
	outermost struct {
		base
		*untagged
		Name string
	}
)

func (p *refused) Error() string { return "refused" }

func (spoken) String() string   { return "its name" }
func (s seven) IsZero() bool    { return s == 7 }
func (p *pointed) IsZero() bool { return p.N == 7 || [1]bool{}[p.N] }

func (bothKey) MarshalJSON() ([]byte, error) { return []byte(`{"n":1}`), nil }
func (bothKey) MarshalText() ([]byte, error) { return []byte("text"), nil }

// Which fields a struct shows, and the form of keys and numbers, are those of encoding/json.
func TestFieldsAndKeysAreThoseOfEncodingJSON(t *testing.T) {
	one := 1
	for name, value := range map[string]any{
		"an unexported field of the name": struct {
			id int
			ID string `json:"id"`
		}{1, "x"},
		"an unexported field hides no embedded one": struct {
			identified
			id int
		}{identified{"x"}, 1},
		"two of a name": struct {
			untagged
			another
		}{},
		"one with a tag": struct {
			untagged
			renamed
		}{untagged{1}, renamed{2}},
		"an unexported struct with a tag": struct {
			identified `json:"base"`
		}{identified{"x"}},
		"quoted": struct {
			S string        `json:"s,string"`
			F float64       `json:"f,string"`
			G float32       `json:"g,string"`
			N spoken        `json:"n,string"`
			D time.Duration `json:"d,string"`
			P *int          `json:"p,string"`
			I any           `json:"i,string"`
			Z *int          `json:"z,string"`
			B bool          `json:"b,string"`
			E status        `json:"e,string"`
		}{"a\"b", 1e6, 1e7, 1, time.Second, &one, 5, nil, true, 1},
		"omitzero": struct {
			T time.Time `json:"t,omitzero"`
			A seven     `json:"a,omitzero"`
			B seven     `json:"b,omitzero"`
			C *seven    `json:"c,omitzero"`
			D pointed   `json:"d,omitzero"`
			E pointed   `json:"e,omitzero"`
		}{time.Time{}.In(time.FixedZone("", 3600)), 7, 0, nil, pointed{7}, pointed{0}},
		"omitzero of an interface": struct {
			A zeroer `json:"a,omitzero"`
			B zeroer `json:"b,omitzero"`
			C zeroer `json:"c,omitzero"`
			D any    `json:"d,omitzero"`
		}{(*pointed)(nil), nil, seven(0), (*pointed)(nil)},
		"no names": []any{struct {
			A int    "json:\"a\\\"b\""
			B int    `json:"b\\"`
			C string "json:\"\u2028,omitempty\""
			D int    `json:"d'"`
			E int    `json:"😀,string"`
		}{}, struct {
			identified `json:"a'"`
		}{identified{"x"}}},
		"unusual names": struct {
			A int `json:"é"`
			B int `json:"<b>&"`
			C int `json:"c d!#$%()*+-./:;=?@[]^_{|}~"`
			D int `json:"٣"`
		}{},
		"pointers to errors that are nil": struct {
			P *refused
			L []*refused
			M map[string]*refused
		}{nil, []*refused{nil}, map[string]*refused{"a": nil}},
		"no bytes":           []byte(nil),
		"no bytes in others": []any{[]byte(nil), map[string][]byte{"a": nil}, []byte{}},
		"keys": []any{
			map[time.Duration]int{time.Second: 1}, map[syscall.Errno]int{2: 1}, map[spoken]int{10: 1, 5: 2},
			map[uint8]int{255: 1}, map[bothKey]int{{7}: 1}, map[slog.Level]int{slog.LevelWarn: 1},
		},
		"numbers": []any{json.Number(""), json.Number("-1.5e+3")},
	} {
		stock, ours := lines(t, value)
		require.Equal(t, stock, ours, name)
	}
}

// A nil pointer in an interface is a value: a service that compares the error with nil has one.
func TestANilPointerInAnErrorIsAnError(t *testing.T) {
	_, ours := lines(t, []error{(*refused)(nil)})
	require.Contains(t, ours, `"value":["refused"]`)
}

// JSON of a value's own is written as encoding/json writes it, with its escapes.
func TestJSONOfItsOwnKeepsItsEscapes(t *testing.T) {
	for _, raw := range []string{
		`"\u00e9\/\u0041 é \n"`, `{"\u00e9" : [ "\u003c<&\ud83d\ude00\ud800", -0, 1.50E5 ], "a":{"\n":"\"", "":""}}`,
	} {
		for name, value := range map[string]any{
			"raw": json.RawMessage(raw), "in a list": []any{jsonOf{raw}}, "error": bothOf{raw},
			"field": struct{ R json.RawMessage }{json.RawMessage(raw)},
		} {
			stock, ours := lines(t, value)
			require.Equal(t, stock, ours, name)
		}
	}
	for raw, want := range map[string]string{`"\u0061` + "\xff" + `"`: "a\ufffd", `"\u0061` + "\u2028" + `"`: "a\u2028"} {
		_, ours := lines(t, json.RawMessage(raw))
		require.True(t, utf8.ValidString(ours))
		require.NotContains(t, ours, "\u2028")
		require.Equal(t, want, decodeLines(t, ours)[0]["value"])
	}
	n := walked(t, json.RawMessage(`{"\u00e9":"\u00ea"}`)).Any().(*node)
	require.Equal(t, "map[é:ê]", n.String())
	require.Equal(t, attribute.MapValue(attribute.String("é", "ê")).String(), n.Value().String())
}

// What a source is in slog: the members it has, or nothing.
func TestASourceIsThatOfTheStockHandler(t *testing.T) {
	for name, value := range map[string]any{
		"file": &slog.Source{File: "x"}, "all": &slog.Source{Function: "f", File: "x", Line: 1},
		"empty": &slog.Source{}, "nil": (*slog.Source)(nil), "a struct": slog.Source{File: "x"},
		"in a group": slog.GroupValue(slog.Any("s", &slog.Source{File: "x"}), slog.Any("t", &slog.Source{})),
		"in a list":  []any{&slog.Source{File: "x"}},
	} {
		stock, ours := lines(t, value)
		require.Equal(t, stock, ours, name)
	}
	require.Equal(t, []slog.Attr{slog.String("file", "x")}, walked(t, &slog.Source{File: "x"}).Group())
}

// composed is a value of a type that is composed of others, all of which encoding/json can encode.
func (c *choices) composed(depth int) reflect.Value {
	leaves := []any{
		c.text, c.text, []byte(c.text), []byte(nil), c.next(2) == 0, int8(c.bits()), int64(c.bits()), c.bits(), uint8(c.bits()),
		uintptr(c.bits()), float64(int64(c.bits())) / 1e9, float32(int32(c.bits())) / 1e5, 1e21, float32(1e-7),
		time.Duration(c.bits()), time.Unix(int64(c.bits()>>32), int64(c.bits()%1e9)).UTC(), time.Time{}, slog.LevelWarn + 1,
		json.Number("-1.50e3"), json.Number(""), json.RawMessage(`{"\u00e9": [1.0, "\/"]}`), json.RawMessage(nil),
		named(c.text), status(c.next(3)), seven(c.next(8)), spoken(1), textual{"x"}, (*textual)(nil), marshal{"x"},
		onAddr{1}, &onAddr{1}, pointed{c.next(2) * 7}, (*pointed)(nil), new(big.Int).SetUint64(c.bits()), (*big.Int)(nil),
		netip.AddrFrom4([4]byte{1, 2, 3, 4}), url.URL{Host: c.text}, [2]byte{1, 2}, []status(nil), map[string]int(nil),
		outermost{base: base{c.text, ""}, untagged: &untagged{1}}, tagged{Iface: c.text}, (*tagged)(nil), struct{}{},
		map[status]int{1: 1, 10: 2, 9: 3}, map[textual]int{{"x"}: 1}, bothKey{}, &slog.Source{File: "x"},
	}
	if depth == 0 {
		return reflect.ValueOf(leaves[c.next(len(leaves))])
	}
	inner := func() reflect.Value { return c.composed(depth - 1) }
	first := inner()
	switch c.next(7) {
	case 0:
		pointer := reflect.New(first.Type())
		pointer.Elem().Set(first)
		return pointer
	case 1:
		return reflect.Append(reflect.MakeSlice(reflect.SliceOf(first.Type()), c.next(2), 2), first)
	case 2:
		array := reflect.New(reflect.ArrayOf(2, first.Type())).Elem()
		array.Index(0).Set(first)
		return array
	case 3:
		m := reflect.MakeMap(reflect.MapOf(reflect.TypeFor[string](), first.Type()))
		m.SetMapIndex(reflect.ValueOf(c.text), first)
		m.SetMapIndex(reflect.ValueOf("b"), reflect.Zero(first.Type()))
		return m
	case 4:
		return reflect.ValueOf([]any{first.Interface(), nil, inner().Interface()})
	case 5:
		return reflect.ValueOf(map[int]any{c.next(20) - 10: first.Interface(), 3: inner().Interface()})
	}
	return c.structOf(first, inner(), inner(), reflect.ValueOf([]any{inner().Interface()}).Index(0))
}

// structOf is a struct with these fields.
func (c *choices) structOf(values ...reflect.Value) reflect.Value {
	tags := []reflect.StructTag{``, `json:"a"`, `json:"a,omitempty"`, `json:",omitzero"`, `json:",string"`, `json:"-"`,
		`json:"-,"`, "json:\"a\\\"b\"", `json:"b,omitempty,string"`, `json:"B"`, `json:"c,omitzero,string"`, `json:"é<"`, `xml:"a"`}
	fields := make([]reflect.StructField, len(values))
	for i, v := range values {
		fields[i] = reflect.StructField{Name: string(rune('A' + i)), Type: v.Type(), Tag: tags[c.next(len(tags))]}
	}
	s := reflect.New(reflect.StructOf(fields)).Elem()
	for i, v := range values {
		if c.next(3) > 0 {
			s.Field(i).Set(v)
		}
	}
	return s
}

func FuzzValuesAreThoseOfTheStockHandler(f *testing.F) {
	for seed := range 400 {
		data := make([]byte, 3000)
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data, []string{"order placed", "", "\xff\u2028<&>\"\x00", "é"}[seed%4])
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		// At the top these two have the form that slog gives them in a string.
		text = strings.NewReplacer("\b", "", "\f", "").Replace(text)
		c := &choices{data, text}
		value := c.composed(c.next(4)).Interface()
		stock, walked := lines(t, value)
		require.Equal(t, stock, walked, "%T", value)
		var ours bytes.Buffer
		require.NoError(t, NewHandler(NewConsoleHandler(&ours, false, slog.LevelInfo, nil)).Handle(t.Context(), record(value)))
		require.Equal(t, stock, ours.String(), "%T", value)
	})
}

func TestAMethodOfAFieldMayPanic(t *testing.T) {
	_, ours := lines(t, struct {
		P pointed `json:"p,omitzero"`
	}{pointed{2}})
	require.Contains(t, ours, `"value":{"p":{"N":2}}`)
}

// A json.Number is any string: it must not end the line, or add to it what is no number.
func TestANumberStaysInItsLine(t *testing.T) {
	for _, number := range []json.Number{"1\n", "\n1", "true", `{"a":1}`, "01", "-", "1 2", "{\n}"} {
		var buf bytes.Buffer
		h := NewHandler(NewConsoleHandler(&buf, false, slog.LevelInfo, nil))
		require.NoError(t, h.Handle(t.Context(), record(number)))
		require.Equal(t, 1, bytes.Count(buf.Bytes(), []byte{'\n'}))
		require.Equal(t, string(number), decodeLines(t, buf.String())[0]["value"])
	}
}
