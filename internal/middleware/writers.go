package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Code tests by type assertions what else a ResponseWriter can do, and falls back if an interface
// is missing. So each writer here has the optional interfaces of the server's writer and no others.
const (
	canFlush = 1 << iota
	canHijack
	canReadFrom
	canPush
	canNotify // when the client disconnects
)

func abilitiesOf(w http.ResponseWriter) (abilities int) {
	if _, ok := w.(http.Flusher); ok {
		abilities |= canFlush
	}
	if _, ok := w.(http.Hijacker); ok {
		abilities |= canHijack
	}
	if _, ok := w.(io.ReaderFrom); ok {
		abilities |= canReadFrom
	}
	if _, ok := w.(http.Pusher); ok {
		abilities |= canPush
	}
	if _, ok := w.(interface{ CloseNotify() <-chan bool }); ok {
		abilities |= canNotify
	}
	return abilities
}

// plainWriter has no optional interface. The writers for net/http's servers are conversions of it,
// so they need no allocation.
type plainWriter struct{ core }

func (w *plainWriter) writer() http.ResponseWriter {
	switch abilities := abilitiesOf(w.ResponseWriter); abilities {
	case canFlush | canHijack | canReadFrom | canNotify:
		return (*http1Writer)(w)
	case canFlush | canPush | canNotify:
		return (*http2Writer)(w)
	case canFlush:
		return (*flushWriter)(w)
	case 0:
		return w
	default:
		return otherWriters[abilities](&w.core)
	}
}

// http1Writer is for the server of HTTP/1.
type http1Writer plainWriter

func (w *http1Writer) Flush()                                       { _ = w.FlushError() }
func (w *http1Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }
func (w *http1Writer) ReadFrom(src io.Reader) (int64, error)        { return w.readFrom(src) }
func (w *http1Writer) CloseNotify() <-chan bool                     { return w.closeNotify() }

// http2Writer is for the server of HTTP/2.
type http2Writer plainWriter

func (w *http2Writer) Flush() { _ = w.FlushError() }
func (w *http2Writer) Push(target string, opts *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, opts)
}
func (w *http2Writer) CloseNotify() <-chan bool { return w.closeNotify() }

// flushWriter is for [net/http/httptest.ResponseRecorder], and for most writers of other
// middleware.
type flushWriter plainWriter

func (w *flushWriter) Flush() { _ = w.FlushError() }

// Each of these types is one optional interface.
type (
	flushes  struct{ w *core }
	hijacks  struct{ w *core }
	copies   struct{ w *core }
	pushes   struct{ w *core }
	notifies struct{ w *core }
)

func (a flushes) Flush()                                       { _ = a.w.FlushError() }
func (a hijacks) Hijack() (net.Conn, *bufio.ReadWriter, error) { return a.w.hijack() }
func (a copies) ReadFrom(src io.Reader) (int64, error)         { return a.w.readFrom(src) }
func (a pushes) Push(target string, opts *http.PushOptions) error {
	return a.w.ResponseWriter.(http.Pusher).Push(target, opts)
}
func (a notifies) CloseNotify() <-chan bool { return a.w.closeNotify() }

// otherWriters makes a writer for each combination of abilities, which are the index.
var otherWriters = [32]func(*core) http.ResponseWriter{
	func(c *core) http.ResponseWriter { return struct{ *core }{c} },
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
		}{c, flushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
		}{c, hijacks{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
		}{c, flushes{c}, hijacks{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			copies
		}{c, copies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			copies
		}{c, flushes{c}, copies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			copies
		}{c, hijacks{c}, copies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			copies
		}{c, flushes{c}, hijacks{c}, copies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			pushes
		}{c, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			pushes
		}{c, flushes{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			pushes
		}{c, hijacks{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			pushes
		}{c, flushes{c}, hijacks{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			copies
			pushes
		}{c, copies{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			copies
			pushes
		}{c, flushes{c}, copies{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			copies
			pushes
		}{c, hijacks{c}, copies{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			copies
			pushes
		}{c, flushes{c}, hijacks{c}, copies{c}, pushes{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			notifies
		}{c, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			notifies
		}{c, flushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			notifies
		}{c, hijacks{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			notifies
		}{c, flushes{c}, hijacks{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			copies
			notifies
		}{c, copies{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			copies
			notifies
		}{c, flushes{c}, copies{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			copies
			notifies
		}{c, hijacks{c}, copies{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			copies
			notifies
		}{c, flushes{c}, hijacks{c}, copies{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			pushes
			notifies
		}{c, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			pushes
			notifies
		}{c, flushes{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			pushes
			notifies
		}{c, hijacks{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			pushes
			notifies
		}{c, flushes{c}, hijacks{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			copies
			pushes
			notifies
		}{c, copies{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			copies
			pushes
			notifies
		}{c, flushes{c}, copies{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			hijacks
			copies
			pushes
			notifies
		}{c, hijacks{c}, copies{c}, pushes{c}, notifies{c}}
	},
	func(c *core) http.ResponseWriter {
		return struct {
			*core
			flushes
			hijacks
			copies
			pushes
			notifies
		}{c, flushes{c}, hijacks{c}, copies{c}, pushes{c}, notifies{c}}
	},
}
