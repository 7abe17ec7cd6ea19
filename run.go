package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	ossignal "os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/diagnose"
)

const (
	// patience is how long Run delivers without a line about it. It is a little longer than the second that Shutdown waits for an
	// endpoint that was not set: a program without a collector ends without one.
	patience = graceForDefault + 250*time.Millisecond
	// sameSignal is how soon after the first signal a second one may be the same one, sent twice: timeout(1) sends it to the
	// process and to its group, and a program that watches another one passes a Ctrl-C on that the terminal has sent to both.
	// A person takes longer.
	sameSignal = 100 * time.Millisecond
	// sameSignalGrace is how long after the first signal such a second one ends the process: it may be meant after all.
	sameSignalGrace = 500 * time.Millisecond
	// lastWords is how long a second signal waits at most for the line about what is lost.
	lastWords = 50 * time.Millisecond
)

// Run is the whole life of a program: [Init] with opts, main, and [Guard.Shutdown].
//
//	func main() {
//		if err := telemetry.Run(context.Background(), serve); err != nil {
//			os.Exit(1)
//		}
//	}
//
// Run returns the error of main and nothing else, and has logged it at level error. A start without all of telemetry and
// what Shutdown could not deliver are logged, and the program goes on.
//
// When the context of main has ended and its error says only that ([context.Canceled], alone or inside others, or
// [http.ErrServerClosed]), it is logged at level info: a stop that was asked for is no failure. Run returns it all the same.
// So a server returns nil after its last request, and a job that was cut short returns its error, and its scheduler sees the
// exit status.
//
// # Signals
//
// The context of main ends when ctx does, and at SIGINT (Ctrl-C) and SIGTERM (kill, docker stop, Kubernetes), on Windows
// at Ctrl-C, Ctrl-Break and the closing of the console. Its cause then names the signal ([context.Cause]), such as
// "SIGTERM received (terminated)". main should stop taking work, finish what has begun, and return: only then does Run
// deliver. Leave time for that: Kubernetes kills the process 30 s after the signal.
//
// One line says that a signal was received and that a second one ends the process at once. A second signal does so, as
// signals do by default, whatever main or the delivery is doing, after a line about what was not delivered (within 50
// ms). That also holds for PID 1 of a container, where the kernel ignores the default. A second signal within 100 ms of
// the first may be the same one, which timeout(1) sends twice; it ends the process half a second after the first,
// unless Run returns sooner.
//
// # Delivery
//
// Shutdown has its own budget ([WithShutdownTimeout], default 10 s), also when ctx is over. When it takes more than a
// second, one line says how many items are on their way, how long it may take, and that a second Ctrl-C ends it. A panic in
// main is logged with its stack, delivered, and raised again. [runtime.Goexit] in main delivers, too.
//
// # What no library can catch
//
// Go ends the process without running deferred calls at [os.Exit], at log.Fatal, at a panic in another goroutine than that of
// main, and at SIGKILL. What telemetry holds at that moment is lost: usually the last seconds. Instead of os.Exit and
// log.Fatal, log the error and return it from main. A goroutine returns its error to main over a channel or with
// golang.org/x/sync/errgroup, and recovers from its panics:
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
// The guard is in the context of main: [GuardFromContext]. While another guard holds the globals, as inside another Run,
// main runs with the telemetry of that one.
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
		logged(func() { guard.Logger().ErrorContext(ctx, "telemetry is degraded", "error", degraded) })
	}
	stop.guard.Store(guard)
	defer guard.deliver(stop)
	defer logPanic(ctx, guard.Logger())

	err := main(context.WithValue(ctx, guardKey{}, guard))
	logged(func() { logEnd(ctx, guard.Logger(), err) })
	return err
}

// logged runs what logs a line of Run's own, and waits a moment for it: an output that blocks keeps neither main nor the
// delivery. The collector gets the record at once.
func logged(line func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = contained(func() error { line(); return nil })
	}()
	select {
	case <-done:
	case <-time.After(logGrace):
	}
}

type guardKey struct{}

// GuardFromContext returns the guard of the [Run] that ctx comes from, for [Guard.Health], [Guard.Describe] and
// [WithGuard]; nil without one. All methods of a nil Guard are safe and do nothing. [Run] shuts it down after main; its
// health, and the error of a further Shutdown, are those of the end.
func GuardFromContext(ctx context.Context) *Guard {
	guard, _ := orBackground(ctx).Value(guardKey{}).(*Guard)
	return guard
}

// logEnd logs how main has ended. ctx is that of main.
func logEnd(ctx context.Context, logger *slog.Logger, err error) {
	switch {
	case err == nil:
	case ctx.Err() != nil && saysStopped(err):
		logger.InfoContext(ctx, "the program was stopped", "cause", context.Cause(ctx), "error", err)
	default:
		logger.ErrorContext(ctx, "the program failed", "error", err)
	}
}

// saysStopped tells whether err says nothing but that its context has ended, or that its server was told to stop.
func saysStopped(err error) bool {
	switch several := err.(type) {
	case interface{ Unwrap() []error }:
		for _, one := range several.Unwrap() {
			if !saysStopped(one) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		if inner := several.Unwrap(); inner != nil {
			return saysStopped(inner)
		}
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed)
}

// logPanic, when deferred, logs a panic and lets it go on, for the runtime to say it and to end the process.
func logPanic(ctx context.Context, logger *slog.Logger) {
	value := recover()
	if value == nil { // also at runtime.Goexit
		return
	}
	kind, message := describePanic(value)
	stack := panicStack()
	logged(func() {
		logger.LogAttrs(ctx, slog.LevelError, "panic: "+message,
			slog.String(string(semconv.ExceptionTypeKey), kind),
			slog.String(string(semconv.ExceptionMessageKey), message),
			slog.String(string(semconv.ExceptionStacktraceKey), stack))
	})
	panic(value)
}

// deliver is Shutdown with its own budget, which says so when it takes long. What was not delivered has been logged by
// then; what else went wrong is logged here, since Run does not return it.
func (g *Guard) deliver(stop *signalStop) {
	stop.returned.Store(true)
	if g.owner != nil {
		return
	}
	said := make(chan struct{})
	late := time.AfterFunc(patience, func() {
		defer close(said)
		g.sayDelivering(stop)
	})
	err := g.Shutdown(context.Background())
	if !late.Stop() {
		<-said
	}
	for _, one := range parts(err) {
		if !errors.As(one, new(*undelivered)) {
			g.selfLog.Say(slog.LevelError, strings.TrimPrefix(one.Error(), "telemetry: "))
		}
	}
}

// sayDelivering tells the person who waits for the program to end what it waits for.
func (g *Guard) sayDelivering(stop *signalStop) {
	what := cmp.Or(g.held(), "telemetry")
	howToEnd := "press Ctrl-C again to stop at once"
	if !stop.signaled() {
		howToEnd = "press Ctrl-C twice to stop at once"
	}
	left := (g.cfg.shutdownTimeout.value - patience).Round(time.Second)
	g.selfLog.Say(slog.LevelInfo, fmt.Sprintf("still delivering %s; this may take another %s (%s)", what, max(left, time.Second), howToEnd))
}

// held is what waits to be delivered, "" if nothing does.
func (g *Guard) held() string {
	var items [signalCount]int64
	for _, r := range g.running {
		items[r.signal] = r.health().Queued
	}
	_, counts := counted(items)
	return diagnose.Listed(counts)
}

// saySignal says what a first signal leads to.
func (g *Guard) saySignal(sig os.Signal, mainReturned bool) {
	if g == nil || g.owner != nil { // during Init, or the Run around this one says it
		return
	}
	waiting := "waiting for the program to return"
	if mainReturned {
		waiting = "still delivering"
	}
	g.selfLog.Say(slog.LevelInfo, fmt.Sprintf("%s received: %s; a second signal ends it at once", signalName(sig), waiting))
}

// lastLine says what a second signal costs, within lastWords: the process is to end now.
func (g *Guard) lastLine(sig os.Signal) {
	if g == nil || g.owner != nil {
		return
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		lost := "nothing was waiting to be delivered"
		if held := g.held(); held != "" {
			lost = held + " not delivered"
		}
		g.selfLog.Say(slog.LevelWarn, fmt.Sprintf("%s received again: ending at once, %s", signalName(sig), lost))
		_ = g.selfLog.Drain(lastWords)
	}()
	select {
	case <-said:
	case <-time.After(lastWords):
	}
}

// signalStop ends a context at the first signal and the process at the second.
type signalStop struct {
	signals  chan os.Signal
	over     chan struct{} // closed at the end of Run
	done     chan struct{} // closed when no goroutine is left
	cancel   context.CancelCauseFunc
	received chan struct{}         // closed at the first signal
	guard    atomic.Pointer[Guard] // nil before Init has returned
	returned atomic.Bool           // main has
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
	s.guard.Load().saySignal(first, s.returned.Load())
	second, ok := s.next()
	if !ok {
		return
	}
	if time.Since(began) < sameSignal {
		select {
		case <-time.After(sameSignalGrace - time.Since(began)):
		case <-s.over:
			return
		}
	}
	s.guard.Load().lastLine(second)
	endBy(second)
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

// endBy ends the process as the signal does by default, so that a shell sees what has ended it. Where that does nothing
// the process exits: the kernel ignores the default for PID 1, a signal may have been ignored when the process started, and
// Windows has no way to send one to oneself.
func endBy(sig os.Signal) {
	ossignal.Reset(sig)
	if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(sig) == nil {
		time.Sleep(100 * time.Millisecond)
	}
	status := 1
	if number, ok := sig.(syscall.Signal); ok {
		status = 128 + int(number) // as shells have it
	}
	os.Exit(status)
}

// receivedSignal is the cause of the end of a context. It is a context.Canceled, as that of signal.NotifyContext is.
type receivedSignal struct{ signal os.Signal }

func (r receivedSignal) Error() string {
	return fmt.Sprintf("%s received (%s)", signalName(r.signal), r.signal)
}

func signalName(sig os.Signal) string {
	return map[os.Signal]string{os.Interrupt: "SIGINT", syscall.SIGTERM: "SIGTERM"}[sig]
}

func (r receivedSignal) Is(target error) bool { return target == context.Canceled }
