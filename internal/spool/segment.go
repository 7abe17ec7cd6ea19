package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"regexp"
	"strconv"

	"github.com/klauspost/compress/gzip"

	"github.com/fleetotel/telemetry/internal/signal"
)

// Request is one OTLP request as it is kept.
type Request struct {
	Signal signal.Signal
	Items  int64  // spans, data points, log records; at least 1
	Plain  int64  // size of the encoded request in bytes, at most MaxPlain
	Gzip   []byte // the encoded request, compressed
}

// MaxPlain is the size of the largest encoded request that is kept, in bytes. It is far above what
// a collector accepts by default (4 MiB over gRPC, 20 MiB over HTTP), and bounds the memory that
// reading a segment may take.
const MaxPlain = 64 << 20

// maxRatio is more than deflate can compress anything by (1,032), so that a header cannot ask for
// memory that the file does not fill.
const maxRatio = 1100

// The header is, in little endian: magic and format version, signal, three bytes of zero, items,
// size of the plain request, size of the compressed one, and the checksum of all that and of the
// compressed request.
const (
	magic      = "FTS1"
	family     = "FTS" // of all versions
	headerSize = 36
	crcAt      = 32
)

// maxFile is more than the size of any segment file: what deflate cannot compress grows by five
// bytes in 64 KiB.
const maxFile = headerSize + MaxPlain + MaxPlain>>10 + 4096

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errTorn     = errors.New("the file is shorter or longer than its header says")
	errForeign  = errors.New("the file is not a segment")
	errNewer    = errors.New("the file is of another version of this library")
	errHuge     = errors.New("the file is larger than a segment can be")
	errChecksum = errors.New("the checksum does not match")
	errHeader   = errors.New("the header contradicts itself")
)

// Marshal returns r as the content of a segment file.
func Marshal(r Request) []byte {
	data := make([]byte, headerSize+len(r.Gzip))
	copy(data, magic)
	data[4] = byte(r.Signal)
	binary.LittleEndian.PutUint64(data[8:], uint64(r.Items))
	binary.LittleEndian.PutUint64(data[16:], uint64(r.Plain))
	binary.LittleEndian.PutUint64(data[24:], uint64(len(r.Gzip)))
	copy(data[headerSize:], r.Gzip)
	binary.LittleEndian.PutUint32(data[crcAt:], checksum(data))
	return data
}

// isDamage reports whether the file is damaged, as opposed to an error in reading it.
func isDamage(err error) bool {
	for _, damage := range []error{errTorn, errForeign, errHuge, errChecksum, errHeader} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// checkHeader checks the beginning of a segment file of the given size.
func checkHeader(head []byte, size int64) error {
	switch {
	case len(head) >= len(magic) && string(head[:len(family)]) == family && string(head[:len(magic)]) != magic:
		return errNewer
	case len(head) < headerSize:
		return errTorn
	case string(head[:len(magic)]) != magic:
		return errForeign
	case size > maxFile:
		return errHuge
	case binary.LittleEndian.Uint64(head[24:]) != uint64(size-headerSize):
		return errTorn
	}
	return nil
}

// Unmarshal parses the content of a segment file, which may be anything. The request shares data.
func Unmarshal(data []byte) (Request, error) {
	if err := checkHeader(data, int64(len(data))); err != nil {
		return Request{}, err
	}
	if binary.LittleEndian.Uint32(data[crcAt:]) != checksum(data) {
		return Request{}, errChecksum
	}
	items, plain := binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data[16:])
	r := Request{Signal: signal.Signal(data[4]), Items: int64(items), Plain: int64(plain), Gzip: data[headerSize:]}
	// An item has at least one byte on the wire, so a larger count is wrong.
	if r.Signal.String() == "" || items == 0 || items > plain || plain > MaxPlain ||
		plain > maxRatio*uint64(len(r.Gzip)) || data[5]|data[6]|data[7] != 0 {
		return Request{}, errHeader
	}
	return r, nil
}

func checksum(data []byte) uint32 {
	return crc32.Update(crc32.Checksum(data[:crcAt], castagnoli), castagnoli, data[headerSize:])
}

// readFile reads a segment file, or only its header if that is invalid.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(f, headerSize))
	if err != nil || checkHeader(head, info.Size()) != nil {
		return head, err
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	data.Write(head)
	_, err = data.ReadFrom(io.LimitReader(f, maxFile))
	return data.Bytes(), err
}

// readHeader reads the beginning of a segment file.
func readHeader(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	return io.ReadAll(io.LimitReader(f, headerSize))
}

// Body returns the encoded request.
func (r Request) Body() ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(r.Gzip))
	if err != nil {
		return nil, err
	}
	body := make([]byte, r.Plain)
	if _, err := io.ReadFull(zr, body); err != nil {
		return nil, err
	}
	// The end of the stream holds gzip's own checksum.
	if n, err := io.ReadFull(zr, make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(errHeader, err)
	}
	return body, nil
}

// Names sort by age. They have the time of writing in nanoseconds, a random part that differs
// between processes, and a or b for the halves of a split request. Then follows what a starting
// process needs to know without reading the file.
var namePattern = regexp.MustCompile(`^([0-9a-f]{16}-[0-9a-f]{8}[ab]{0,40})-(traces|metrics|logs)-([1-9][0-9]{0,7})\.otlp$`)

func nameOf(key string, r Request) string {
	return fmt.Sprintf("%s-%s-%d.otlp", key, r.Signal, r.Items)
}

// parseName returns the parts of the name of a segment, and false for any other name.
func parseName(name string) (key string, of signal.Signal, items int64, ok bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return "", 0, 0, false
	}
	items, err := strconv.ParseInt(m[3], 10, 64)
	return m[1], signal.Named(m[2]), items, err == nil
}
