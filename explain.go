package telemetry

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/mask"
)

// explainer knows what the probe has found, and words what goes wrong later. It is safe for concurrent use.
type explainer struct {
	targets [signalCount]diagnose.Target
	mask    mask.Mask

	mu      sync.Mutex
	signals map[string]*known // by signal
	told    map[string]bool   // texts that a line has had in full
}

// known is what has been found out about a signal.
type known struct {
	finding *diagnose.Finding // the probe's
	said    time.Time         // when the probe's line was written
	failed  diagnose.Kind     // of the last failure of an export that could be explained
}

func newExplainer(cfg *config, secrets mask.Mask) *explainer {
	e := &explainer{mask: secrets, signals: map[string]*known{}, told: map[string]bool{}}
	for _, s := range allSignals() {
		e.signals[s.String()] = &known{}
		if cfg.signals[s].sends(exporterOTLP) {
			e.targets[s] = diagnosisTarget(s, cfg.signals[s])
		}
	}
	return e
}

// masked hides what a server has put into a finding, such as into the names of its certificate.
func (e *explainer) masked(results []diagnose.Result) []diagnose.Result {
	for i, r := range results {
		if r.Finding != nil {
			masked := *r.Finding
			masked.Text = e.mask.Text(masked.Text)
			results[i].Finding = &masked
		}
	}
	return results
}

// found takes a finding of the probe down, and tells whether it is worth a line: not when an export's failure has had one,
// and not when the endpoint is merely busy, which exports will wait for.
func (e *explainer) found(r diagnose.Result) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.signals[r.Target.Signal]
	k.finding = r.Finding
	if r.Finding.Kind == diagnose.Busy || k.failed != diagnose.Unknown && r.Finding.Is(k.failed) {
		return false
	}
	k.said = time.Now()
	return true
}

// explain words the failure of an export as the probe would. news is false when the probe's line about the same cause has
// just been written.
func (e *explainer) explain(name string, err error) (explained error, news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kind, known, explained := e.worded(name, err)
	switch {
	case known:
		return e.mask.Error(explained), time.Since(e.signals[name].said) > sameCause
	case explained != err:
		e.signals[name].failed = kind
	}
	return e.mask.Error(explained), true
}

// words is the same for who only reads.
func (e *explainer) words(s signal, err error) error {
	if e == nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _, explained := e.worded(s.String(), err)
	return e.mask.Error(explained)
}

// worded is err as the probe words it, and whether the probe has found the same. The caller holds the lock.
func (e *explainer) worded(name string, err error) (kind diagnose.Kind, known bool, explained error) {
	k, i := e.signals[name], slices.IndexFunc(e.targets[:], func(t diagnose.Target) bool { return t.Signal == name })
	if k == nil || i < 0 || err == nil {
		return diagnose.Unknown, false, err
	}
	f, ok := diagnose.Explain(err, e.targets[i])
	switch {
	case f.Kind != diagnose.Unknown && k.finding != nil && k.finding.Is(f.Kind):
		return f.Kind, true, &explainedError{k.finding.Text, k.finding.Brief(), err}
	case !ok:
		return f.Kind, false, err
	}
	return f.Kind, false, &explainedError{f.Text, f.Brief(), err}
}

// explainedError is an error in words that say what to do about it.
type explainedError struct {
	text  string
	brief string // without what to do
	cause error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.cause }

// maxTold bounds the texts that are remembered. There are a few for each endpoint.
const maxTold = 64

// tell takes down that a line has this text.
func (e *explainer) tell(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.told) < maxTold {
		e.told[text] = true
	}
}

// brief is err without what to do about it, if a line has said that before.
func (e *explainer) brief(err error) error {
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

// diagnosisTarget is what a diagnosis has to know about a signal. A setting is named as it was given, or, if it was not,
// by the variable that concerns no other endpoint.
func diagnosisTarget(s signal, sc signalConfig) diagnose.Target {
	own := sc.endpoint.origin == signalEnv(s, "ENDPOINT")
	name := func(origin, suffix string) diagnose.Setting {
		general := "OTEL_EXPORTER_OTLP_" + suffix
		switch {
		case own && !isOption(origin):
			return diagnose.Setting(signalEnv(s, suffix))
		case isOption(origin), origin == signalEnv(s, suffix), origin == string(diagnose.Argument):
			return diagnose.Setting(origin)
		}
		return diagnose.Setting(general)
	}
	u := *sc.target.url
	u.Path = "/" + strings.TrimPrefix(u.Path, "/") // URL.JoinPath leaves it out after a bare host
	return diagnose.Target{
		Signal: s.String(), GRPC: sc.protocol.value == ProtocolGRPC, URL: &u, Address: sc.target.hostPort(), TLS: sc.tls, Timeout: sc.timeout.value,
		DefaultEndpoint: sc.endpoint.isDefault(), OwnURL: own, HasHeaders: len(sc.headers.value) > 0 || sc.headerSource() != (headerSource{}), OwnCertificate: !sc.certificate.isDefault(),
		Endpoint: name(sc.endpoint.origin, "ENDPOINT"), Protocol: name(sc.protocol.origin, "PROTOCOL"), Headers: name(sc.headers.origin, "HEADERS"),
		Certificate: name(sc.certificate.origin, "CERTIFICATE"), ClientCertificate: name(sc.clientCertificate.origin, "CLIENT_CERTIFICATE"),
		ClientKey: name(sc.clientKey.origin, "CLIENT_KEY"), Compression: name(sc.compression.origin, "COMPRESSION"),
	}
}
