package telemetrytest

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// RequireNoLeakedSpans fails the test if a started span does not end within 5 s. The message shows
// where each span was started: the service's line that called Start, directly or through a library.
// A span that is not ended never leaves the process, and its children appear to have no parent.
// Spans that the sampler drops are not checked.
func (r *Recorder) RequireNoLeakedSpans(tb testing.TB) {
	tb.Helper()
	begin := time.Now()
	for r.open.count() > 0 && time.Since(begin) < requireTimeout {
		time.Sleep(pollInterval)
	}
	leaked := r.open.spans()
	if len(leaked) == 0 {
		return
	}
	var b strings.Builder
	for _, s := range leaked {
		fmt.Fprintf(&b, "\n    %q, started at %s", s.Name, s.openAt)
	}
	seen := r.look()
	seen.waited = time.Since(begin)
	r.fail(tb, seen, "%s not ended%s: add defer span.End() after each Start%s", count(len(leaked), "span"),
		seen.within(), &b)
}

// openSpans is a span processor that tracks the spans that have not ended.
type openSpans struct {
	mu   sync.Mutex
	open map[spanID]openSpan
}

type spanID struct {
	trace trace.TraceID
	span  trace.SpanID
}

type openSpan struct {
	span    sdktrace.ReadWriteSpan
	callers []uintptr
}

var _ sdktrace.SpanProcessor = (*openSpans)(nil)

func newOpenSpans() *openSpans {
	return &openSpans{open: map[spanID]openSpan{}}
}

func idOf(sc trace.SpanContext) spanID { return spanID{sc.TraceID(), sc.SpanID()} }

func (o *openSpans) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	var callers [64]uintptr
	n := runtime.Callers(2, callers[:])
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[idOf(s.SpanContext())] = openSpan{s, slices.Clone(callers[:n])}
}

func (o *openSpans) OnEnd(s sdktrace.ReadOnlySpan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, idOf(s.SpanContext()))
}

func (*openSpans) Shutdown(context.Context) error   { return nil }
func (*openSpans) ForceFlush(context.Context) error { return nil }

func (o *openSpans) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open)
}

// spans returns the open spans in the order of their start, for failure messages.
func (o *openSpans) spans() []*Span {
	o.mu.Lock()
	open := make([]openSpan, 0, len(o.open))
	for _, s := range o.open {
		open = append(open, s)
	}
	o.mu.Unlock()
	spans := each(open, openSpan.unfinished)
	slices.SortFunc(spans, func(a, b *Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID))
	})
	return spans
}

// unfinished returns the data of a span that has not ended. Attributes are omitted: the service may
// still be writing them, and the SDK returns them without a lock.
func (o openSpan) unfinished() *Span {
	s := &Span{
		TraceID: o.span.SpanContext().TraceID().String(), SpanID: o.span.SpanContext().SpanID().String(),
		Name: o.span.Name(), Kind: o.span.SpanKind(), Start: o.span.StartTime(),
		Resource: attributeMap(o.span.Resource().Attributes()),
		openAt:   startedAt(o.callers),
	}
	if o.span.Parent().HasSpanID() {
		s.ParentSpanID = o.span.Parent().SpanID().String()
	}
	return s
}

// libraries are packages that start spans on behalf of others. The stack of a server middleware's
// span contains only these.
var libraries = []string{
	"go.opentelemetry.io", "github.com/fleetotel/telemetry", "net/http", "google.golang.org/grpc", "runtime",
}

// startedAt returns the innermost call outside of libraries, or else the innermost outside of
// OpenTelemetry and this library.
func startedAt(callers []uintptr) string {
	frames := runtime.CallersFrames(callers)
	fallback := ""
	for {
		f, more := frames.Next()
		switch pkg := packageOf(f.Function); {
		case f.Function == "":
		case !isOneOf(pkg, libraries):
			return place(f)
		case fallback == "" && !isOneOf(pkg, libraries[:2]):
			fallback = place(f)
		}
		if !more {
			return fallback
		}
	}
}

func place(f runtime.Frame) string {
	return fmt.Sprintf("%s:%d in %s", f.File, f.Line, f.Function[strings.LastIndex(f.Function, "/")+1:])
}

// packageOf returns the import path in a function's full name, for example "example.com/shop/cart"
// in "example.com/shop/cart.(*Cart).Add". Dots in the last element of a path are escaped, but those
// in a type argument's path are not.
func packageOf(function string) string {
	function, _, _ = strings.Cut(function, "[")
	slash := strings.LastIndex(function, "/")
	dot := strings.Index(function[slash+1:], ".")
	if dot < 0 {
		return function
	}
	return function[:slash+1+dot]
}

// isOneOf reports whether a package is one of these, or below one. The examples and tests of this
// library count as users.
func isOneOf(pkg string, packages []string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		below, isBelow := strings.CutPrefix(pkg, p+"/")
		return pkg == p || isBelow && !strings.HasPrefix(below, "examples/") && !strings.HasSuffix(pkg, "_test")
	})
}
