package otlp

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/mask"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// Explainer remembers what the probe has found, and explains later errors in the same words. It is
// safe for concurrent use.
type Explainer struct {
	targets [signal.Count]diagnose.Target
	mask    mask.Mask

	mu      sync.Mutex
	signals [signal.Count]known
	told    map[string]bool // texts that a line has had in full
}

// known is what is known about a signal.
type known struct {
	finding *diagnose.Finding // the probe's
	said    time.Time         // when the probe's line was written
	failed  diagnose.Kind     // of the last failure of an export that could be explained
}

func newExplainer(cfg *settings.Config, secrets mask.Mask) *Explainer {
	e := &Explainer{mask: secrets, told: map[string]bool{}}
	for _, s := range signal.All() {
		if cfg.Signals[s].Sends(settings.ExporterOTLP) {
			e.targets[s] = diagnosisTarget(s, cfg.Signals[s])
		}
	}
	return e
}

// masked hides what a server has put into a finding, such as into the names of its certificate.
func (e *Explainer) masked(results []diagnose.Result) []diagnose.Result {
	for i, r := range results {
		if r.Finding != nil {
			masked := *r.Finding
			masked.Text = e.mask.Text(masked.Text)
			results[i].Finding = &masked
		}
	}
	return results
}

// found remembers a finding of the probe, and reports whether it needs a line. It needs none if a
// failed export has already had a line about the same cause, or if the endpoint is only busy:
// exports wait until it is not.
func (e *Explainer) found(r diagnose.Result) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := &e.signals[r.Target.Signal]
	k.finding = r.Finding
	if r.Finding.Kind == diagnose.Busy || k.failed != diagnose.Unknown && r.Finding.Is(k.failed) {
		return false
	}
	k.said = time.Now()
	return true
}

// explain describes the failure of an export in the words of the probe. news is false if the
// probe's line about the same cause was written within the last minute.
func (e *Explainer) explain(s signal.Signal, err error) (explained error, news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kind, known, explained := e.lookUp(s, err)
	if known {
		return e.mask.Error(explained), time.Since(e.signals[s].said) > sameCause
	}
	// Not explained != err: err may have a type that cannot be compared, such as a slice.
	if _, isExplained := explained.(*explainedError); isExplained {
		e.signals[s].failed = kind
	}
	return e.mask.Error(explained), true
}

// explained is explain for Health and for returned errors, which are not log lines.
func (e *Explainer) explained(s signal.Signal, err error) error {
	if e == nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _, explained := e.lookUp(s, err)
	return e.mask.Error(explained)
}

// lookUp returns err in the words of the probe, and whether the probe has found the same cause. The
// caller holds the lock.
func (e *Explainer) lookUp(s signal.Signal, err error) (kind diagnose.Kind, known bool, explained error) {
	k, target := &e.signals[s], e.targets[s]
	if target.Signal == signal.None || err == nil {
		return diagnose.Unknown, false, err
	}
	f, ok := diagnose.Explain(err, target)
	switch {
	case f.Kind != diagnose.Unknown && k.finding != nil && k.finding.Is(f.Kind):
		return f.Kind, true, &explainedError{k.finding.Text, k.finding.Brief(), err}
	case !ok:
		return f.Kind, false, err
	}
	return f.Kind, false, &explainedError{f.Text, f.Brief(), err}
}

// explainedError is an error whose text says what to do about it.
type explainedError struct {
	text  string
	brief string // without what to do
	cause error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.cause }

// maxTold bounds the texts that are remembered. There are a few for each endpoint.
const maxTold = 64

// tell remembers that a line with this text was written.
func (e *Explainer) tell(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.told) < maxTold {
		e.told[text] = true
	}
}

// brief returns err without the advice what to do about it, if an earlier line has given that
// advice.
func (e *Explainer) brief(err error) error {
	explained := (*explainedError)(nil)
	if !errors.As(err, &explained) {
		return err
	}
	e.mu.Lock()
	told := e.told[err.Error()]
	e.mu.Unlock()
	if !told {
		e.tell(err.Error())
		return err
	}
	return e.mask.Error(&explainedError{explained.brief, explained.brief, explained.cause})
}

// diagnosisTarget returns what a diagnosis needs to know about a signal. A setting that an option
// or the signal's own variable has set has that name. Any other has the name of a variable: the
// signal's own if the signal has its own endpoint, or else the one for all signals.
func diagnosisTarget(s signal.Signal, sc settings.SignalConfig) diagnose.Target {
	own := sc.Endpoint.Origin == settings.SignalVariable(s, "ENDPOINT")
	name := func(origin, suffix string) lines.Setting {
		general := "OTEL_EXPORTER_OTLP_" + suffix
		switch {
		case own && !lines.IsOption(origin):
			return lines.Setting(settings.SignalVariable(s, suffix))
		case lines.IsOption(origin), origin == settings.SignalVariable(s, suffix), origin == lines.Argument:
			return lines.Setting(origin)
		}
		return lines.Setting(general)
	}
	u := *sc.Target.URL
	u.Path = "/" + strings.TrimPrefix(u.Path, "/") // URL.JoinPath leaves it out after a bare host
	return diagnose.Target{
		Signal: s, GRPC: sc.Protocol.Value == settings.ProtocolGRPC, URL: &u, Address: sc.Target.HostPort(),
		TLS: sc.TLS, Timeout: sc.Timeout.Value,
		DefaultEndpoint: sc.Endpoint.IsDefault(), OwnURL: own, HasHeaders: len(sc.Headers.Value) > 0 ||
			sc.HeaderSource() != (settings.HeaderSource{}), OwnCertificate: !sc.Certificate.IsDefault(),
		Endpoint: name(sc.Endpoint.Origin, "ENDPOINT"), Protocol: name(sc.Protocol.Origin, "PROTOCOL"),
		Headers:     name(sc.Headers.Origin, "HEADERS"),
		Certificate: name(sc.Certificate.Origin, "CERTIFICATE"), ClientCertificate: name(sc.ClientCertificate.Origin,
			"CLIENT_CERTIFICATE"),
		ClientKey: name(sc.ClientKey.Origin, "CLIENT_KEY"), Compression: name(sc.Compression.Origin, "COMPRESSION"),
	}
}
