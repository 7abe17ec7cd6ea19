package spool_test

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

func TestSegmentRoundTrip(t *testing.T) {
	for _, of := range signal.All() {
		want := request(of, 3, "hello hello")
		got, err := spool.Unmarshal(spool.Marshal(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
		body, err := got.Body()
		require.NoError(t, err)
		require.Equal(t, "hello hello", string(body))
	}
}

// forge makes a file whose checksum is right.
func forge(change func(header []byte)) []byte {
	data := spool.Marshal(sized(1))
	change(data)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(data[32:], crc32.Update(crc32.Checksum(data[:32], table), table, data[36:]))
	return data
}

func TestHeadersThatContradictThemselves(t *testing.T) {
	_, err := spool.Unmarshal(forge(func([]byte) {}))
	require.NoError(t, err)
	for name, change := range map[string]func([]byte){
		"no signal":             func(h []byte) { h[4] = 0 },
		"a fourth signal":       func(h []byte) { h[4] = 4 },
		"reserved":              func(h []byte) { h[6] = 1 },
		"no items":              func(h []byte) { h[8] = 0 },
		"more items than bytes": func(h []byte) { h[8] = 101 },
		"items below zero":      func(h []byte) { h[15] = 0xff },
		"plain beyond reason":   func(h []byte) { binary.LittleEndian.PutUint64(h[16:], spool.MaxPlain) },
		"another version":       func(h []byte) { h[3] = '2' },
	} {
		_, err := spool.Unmarshal(forge(change))
		require.Error(t, err, name)
	}
}

func TestBodyMustHaveItsSize(t *testing.T) {
	r := request(signal.Traces, 1, strings.Repeat("x", 100))
	for _, plain := range []int64{99, 101} {
		r.Plain = plain
		_, err := r.Body()
		require.Error(t, err)
	}
	r.Gzip = []byte("not gzip")
	_, err := r.Body()
	require.Error(t, err)
}

// FuzzUnmarshal feeds the parser with anything: it must not panic, must accept nothing but what
// Marshal writes, and what it accepts must be bounded.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte{})
	f.Add(spool.Marshal(sized(1)))
	f.Add(spool.Marshal(request(signal.Logs, 7, "a longer body than that")))
	f.Add(forge(func(h []byte) { h[8] = 101 }))
	f.Add(forge(func(h []byte) { binary.LittleEndian.PutUint64(h[16:], spool.MaxPlain) }))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, data := range [][]byte{data,
			spool.Marshal(spool.Request{Signal: signal.Traces, Items: 1, Plain: int64(len(data)), Gzip: data})} {
			r, err := spool.Unmarshal(data)
			if err != nil {
				continue
			}
			require.Equal(t, data, spool.Marshal(r))
			require.Positive(t, r.Items)
			require.LessOrEqual(t, r.Items, r.Plain)
			require.LessOrEqual(t, r.Plain, int64(spool.MaxPlain))
			require.NotEmpty(t, r.Signal.String())
			if body, err := r.Body(); err == nil {
				require.Len(t, body, int(r.Plain))
			}
		}
	})
}
