package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	ossignal "os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/otlp"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spans"
)

const (
	// quietDelivery is how long Run delivers before it logs that it is still delivering. It is
	// slightly longer than unsetEndpointGrace, so a program without a collector ends without that
	// line.
	quietDelivery = unsetEndpointGrace + 250*time.Millisecond
	// repeatedSignal is the interval in which a second signal may be a duplicate of the first.
	// timeout(1) signals the process and then its group. A parent process may forward a Ctrl-C that
	// the terminal has already sent to both. A person takes longer.
	repeatedSignal = 100 * time.Millisecond
	// repeatedSignalGrace is how long after the first signal such a second one ends the process, in
	// case it was intended.
	repeatedSignalGrace = 500 * time.Millisecond
	// lastLineLimit is the longest time a second signal waits for the log line about lost
	// telemetry.
	lastLineLimit = 50 * time.Millisecond
)

// Run runs a whole program: [Init] with opts, then main, then [Guard.Shutdown].
//
//	func main() {
//		if err := telemetry.Run(context.Background(), serve); err != nil {
//			os.Exit(1)
//		}
//	}
//
// Run returns only the error of main, after logging it at level error. If telemetry starts only in
// part, or Shutdown cannot deliver everything, Run logs that and the program continues.
//
// A requested stop is not a failure. If main's context has ended and its error says only that
// ([context.Canceled], alone or wrapped, or [http.ErrServerClosed]), Run logs the error at level
// info. Run still returns it. So a server should return nil after its last request. A job that was
// interrupted should return its error, so that its scheduler sees the exit status.
//
// # Signals
//
// The context of main ends when ctx ends, and at SIGINT (Ctrl-C) or SIGTERM (kill, docker stop,
// Kubernetes). On Windows it ends at Ctrl-C, Ctrl-Break and when the console closes.
// [context.Cause] then names the signal, for example "SIGTERM received (terminated)". main should
// stop accepting work, finish what it has started, and return. Only then does Run deliver. Leave
// time for that: Kubernetes kills the process 30 s after the signal.
//
// A log line says that a signal was received and that a second one ends the process at once. The
// second signal does this even while main or the delivery is running. Before that, a line about
// undelivered telemetry is logged (within 50 ms). This also works for PID 1 of a container, where
// the kernel ignores the default action. A second signal within 100 ms of the first may be a
// duplicate, which timeout(1) sends. It ends the process half a second after the first, unless Run
// returns sooner.
//
// # Delivery
//
// Shutdown has its own time limit ([WithShutdownTimeout], default 10 s), even if ctx has ended. If
// it takes more than a second, a log line says how many items are left, how long it may take, and
// that a second Ctrl-C ends it. A panic in main is logged with its stack, delivered, and raised
// again. Run also delivers after [runtime.Goexit] in main.
//
// # What no library can catch
//
// Go does not run deferred calls at [os.Exit], at log.Fatal, at a panic in a goroutine other than
// main's, and at SIGKILL. Telemetry that has not been delivered is then lost, usually the last few
// seconds. Instead of calling os.Exit or log.Fatal, log the error and return it from main. A
// goroutine should return its error to main over a channel or with golang.org/x/sync/errgroup, and
// recover from its panics:
//
//	go func() {
//		defer func() {
//			if p := recover(); p != nil {
//				failed <- fmt.Errorf("worker: panic: %v\n%s", p, debug.Stack())
//			}
//		}()
//		failed <- work(ctx)
//	}()
//
// [GuardFromContext] returns the guard from main's context. While another guard holds the globals,
// for example inside another Run, main runs with that guard's telemetry.
func Run(ctx context.Context, main func(ctx context.Context) error, opts ...Option) error {
	if main == nil {
		err := errors.New("telemetry: the function given to Run must not be nil")
		slog.Error("the program failed", "error", err)
		return err
	}
	ctx, stop := stopBySignal(orBackground(ctx))
	defer stop.release()
	guard, degraded := Init(ctx, opts...)
	if degraded != nil {
		waitBriefly(func() { guard.Logger().ErrorContext(ctx, "telemetry is degraded", "error", degraded) })
	}
	stop.guard.Store(guard)
	defer guard.deliver(stop)
	defer logPanic(ctx, guard.Logger())

	err := main(context.WithValue(ctx, guardKey{}, guard))
	waitBriefly(func() { logEnd(ctx, guard.Logger(), err) })
	return err
}

// waitBriefly runs one of Run's own log calls and waits for it at most logGrace, so that a blocked
// output delays neither main nor the delivery. The collector gets the record at once.
func waitBriefly(line func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = contain.Catch(func() error { line(); return nil })
	}()
	select {
	case <-done:
	case <-time.After(logGrace):
	}
}

type guardKey struct{}

// GuardFromContext returns the guard of the [Run] that ctx comes from, for [Guard.Health],
// [Guard.Describe] and [WithGuard]. It returns nil if there is none. All methods of a nil Guard are
// safe and do nothing. [Run] shuts the guard down after main. After that, its health and the error
// of another Shutdown are final.
func GuardFromContext(ctx context.Context) *Guard {
	guard, _ := orBackground(ctx).Value(guardKey{}).(*Guard)
	return guard
}

// logEnd logs how main ended. ctx is main's context.
func logEnd(ctx context.Context, logger *slog.Logger, err error) {
	switch {
	case err == nil:
	case ctx.Err() != nil && isStop(err):
		logger.InfoContext(ctx, "the program was stopped", "cause", context.Cause(ctx), "error", err)
	default:
		logger.ErrorContext(ctx, "the program failed", "error", err)
	}
}

// isStop reports whether err says only that its context ended or that its server was stopped.
func isStop(err error) bool {
	switch several := err.(type) {
	case interface{ Unwrap() []error }:
		parts := several.Unwrap()
		return len(parts) > 0 && !slices.ContainsFunc(parts, func(one error) bool { return !isStop(one) })
	case interface{ Unwrap() error }:
		if inner := several.Unwrap(); inner != nil {
			return isStop(inner)
		}
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed)
}

// logPanic, when deferred, logs a panic and raises it again. The runtime then prints it and ends
// the process.
func logPanic(ctx context.Context, logger *slog.Logger) {
	value := recover()
	if value == nil { // also at runtime.Goexit
		return
	}
	kind, message := spans.DescribePanic(value)
	stack := spans.PanicStack()
	waitBriefly(func() {
		logger.LogAttrs(ctx, slog.LevelError, "panic: "+message,
			slog.String(string(semconv.ExceptionTypeKey), kind),
			slog.String(string(semconv.ExceptionMessageKey), message),
			slog.String(string(semconv.ExceptionStacktraceKey), stack))
	})
	panic(value)
}

// deliver is Shutdown with its own time limit, and logs a line if it takes long. Shutdown logs what
// was not delivered. deliver logs its other errors, because Run does not return them.
func (g *Guard) deliver(stop *signalStop) {
	stop.returned.Store(true)
	if g.owner != nil {
		return
	}
	logged := make(chan struct{})
	late := time.AfterFunc(quietDelivery, func() {
		defer close(logged)
		g.logDelivering(stop)
	})
	err := g.Shutdown(context.Background())
	if !late.Stop() {
		<-logged
	}
	for _, one := range otlp.Parts(err) {
		if !errors.As(one, new(*otlp.Undelivered)) || errors.Is(one, errAbandoned) {
			g.selfLog.Say(lines.ShutdownFailed(one))
		}
	}
}

// logDelivering tells a person who waits for the program to end why it is still running.
func (g *Guard) logDelivering(stop *signalStop) {
	g.selfLog.Say(lines.StillDelivering(g.queued(), g.cfg.ShutdownTimeout.Value-quietDelivery, stop.signaled()))
}

// queued describes the items that wait to be delivered, or is "" if there are none.
func (g *Guard) queued() string {
	var items [signal.Count]int64
	for _, r := range g.running {
		items[r.Signal] = r.Health().Queued
	}
	_, counts := otlp.Counted(items)
	return lines.Listed(counts)
}

// logSignal logs what happens after the first signal.
func (g *Guard) logSignal(sig os.Signal, mainReturned bool) {
	if g == nil || g.owner != nil { // during Init, or inside another Run, which logs it
		return
	}
	g.selfLog.Say(lines.SignalReceived(signalName(sig), mainReturned))
}

// logSecondSignal logs what is lost at a second signal. It takes at most lastLineLimit, because the
// process must end now.
func (g *Guard) logSecondSignal(sig os.Signal) {
	if g == nil || g.owner != nil {
		return
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		g.selfLog.Say(lines.SignalReceivedAgain(signalName(sig), g.queued()))
		_ = g.selfLog.Drain(lastLineLimit)
	}()
	select {
	case <-logged:
	case <-time.After(lastLineLimit):
	}
}

// signalStop ends a context at the first signal and the process at the second.
type signalStop struct {
	signals  chan os.Signal
	over     chan struct{} // closed at the end of Run
	done     chan struct{} // closed when watch has returned
	cancel   context.CancelCauseFunc
	received chan struct{}         // closed at the first signal
	guard    atomic.Pointer[Guard] // nil before Init has returned
	returned atomic.Bool           // main has returned
}

func stopBySignal(parent context.Context) (context.Context, *signalStop) {
	ctx, cancel := context.WithCancelCause(parent)
	s := &signalStop{
		signals: make(chan os.Signal, 2), cancel: cancel,
		over: make(chan struct{}), done: make(chan struct{}), received: make(chan struct{}),
	}
	ossignal.Notify(s.signals, os.Interrupt, syscall.SIGTERM)
	go s.watch()
	return ctx, s
}

func (s *signalStop) watch() {
	defer close(s.done)
	first, ok := s.next()
	if !ok {
		return
	}
	began := time.Now()
	close(s.received)
	s.cancel(receivedSignal{first})
	s.guard.Load().logSignal(first, s.returned.Load())
	second, ok := s.next()
	if !ok {
		return
	}
	if time.Since(began) < repeatedSignal {
		select {
		case <-time.After(repeatedSignalGrace - time.Since(began)):
		case <-s.over:
			return
		}
	}
	s.guard.Load().logSecondSignal(second)
	endBySignal(second)
}

func (s *signalStop) next() (os.Signal, bool) {
	select {
	case sig := <-s.signals:
		return sig, true
	case <-s.over:
		return nil, false
	}
}

func (s *signalStop) signaled() bool {
	select {
	case <-s.received:
		return true
	default:
		return false
	}
}

func (s *signalStop) release() {
	ossignal.Stop(s.signals)
	close(s.over)
	<-s.done
	s.cancel(nil)
}

// endBySignal ends the process with the signal's default action, so that a shell sees which signal
// ended it. If that has no effect, the process exits. The kernel ignores the default action for PID
// 1, a signal may have been ignored when the process started, and a Windows process cannot send a
// signal to itself.
func endBySignal(sig os.Signal) {
	ossignal.Reset(sig)
	if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(sig) == nil {
		time.Sleep(100 * time.Millisecond) // the signal arrives in its own time
	}
	status := 1
	if number, ok := sig.(syscall.Signal); ok {
		status = 128 + int(number) // the convention of shells
	}
	os.Exit(status)
}

// receivedSignal is the cause of a canceled context. It matches context.Canceled, like the cause
// that signal.NotifyContext sets.
type receivedSignal struct{ signal os.Signal }

func (r receivedSignal) Error() string {
	return fmt.Sprintf("%s received (%s)", signalName(r.signal), r.signal)
}

func signalName(sig os.Signal) string {
	return map[os.Signal]string{os.Interrupt: "SIGINT", syscall.SIGTERM: "SIGTERM"}[sig]
}

func (r receivedSignal) Is(target error) bool { return target == context.Canceled }
