package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/examples/shop/internal/platform"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// root is a server span of payment with the weight of its th.
func root(id, th string) otlptest.Span {
	s := otlptest.Span{
		TraceID: id + "00000000000000000ffffffffffffff", SpanID: "000000000000000" + id, Flags: 1,
		Name: "shop.v1.Payment/Charge",
		Kind: "server", Resource: map[string]any{"service.name": "payment"},
	}
	if th != "" {
		s.TraceState = "ot=th:" + th
	}
	return s
}

// TestReportFindsWhatIsMissing takes things away, one at a time, from a run in which everything
// arrived.
func TestReportFindsWhatIsMissing(t *testing.T) {
	print := func(change func(*arrival, *platform.Closing)) (string, error) {
		a := &arrival{operations: make(map[operation]*seen), services: make(map[string]*signals)}
		for _, s := range []otlptest.Span{root("1", "8"), root("2", "8")} {
			a.count(s)
		}
		op := a.at(operation{"payment", "shop.v1.Payment/Charge"})
		op.failed, op.slow = 1, 1
		*a.of("payment") = signals{spans: 2, records: 5, correlated: 4, kept: 2}
		closing := &platform.Closing{
			Operations: map[string]platform.Count{"shop.v1.Payment/Charge": {Made: 4, Failed: 1, Slow: 1}},
			Traces:     platform.Signal{Accepted: 2, Exported: 2}, Logs: platform.Signal{Accepted: 5, Exported: 5},
		}
		change(a, closing)
		var out bytes.Buffer
		r := &report{did: result{Services: map[string]*platform.Closing{"payment": closing}}, arrived: a,
			adaptive: true}
		err := r.print(&out)
		return out.String(), err
	}
	out, err := print(func(*arrival, *platform.Closing) {})
	require.NoError(t, err)
	require.Regexp(t, `  payment\n +shop.v1.Payment/Charge +4 +2 +4 +2 +1 +1 +1 +1\n`, out,
		"two samples that stand for two each")

	for line := range strings.Lines(out) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
	}

	op := operation{"payment", "shop.v1.Payment/Charge"}
	for want, change := range map[string]func(*arrival, *platform.Closing){
		"1 requests failed, the traces of 0 were kept": func(a *arrival, _ *platform.Closing) { a.at(op).failed = 0 },
		"1 requests failed, the traces of 2 were kept": func(a *arrival, _ *platform.Closing) { a.at(op).failed = 2 },
		"1 requests were slow, the traces of 0":        func(a *arrival, _ *platform.Closing) { a.at(op).slow = 0 },
		"1 of 3 spans do not say what they stand for": func(a *arrival, _ *platform.Closing) {
			a.count(root("3", ""))
		},
		"estimated 4 requests, made 17": func(_ *arrival, c *platform.Closing) {
			c.Operations[op.name] = platform.Count{Made: 17, Failed: 1, Slow: 1}
		},
		"2 spans ended, 1 arrived": func(a *arrival, _ *platform.Closing) {
			a.of("payment").spans--
		},
		"5 log records were written, 4 arrived": func(a *arrival, _ *platform.Closing) {
			a.of("payment").records--
		},
		"requests logged 4 lines, 3 arrived with the id": func(a *arrival, _ *platform.Closing) {
			a.of("payment").correlated--
		},
		"health probes made 1 spans, want none": func(a *arrival, _ *platform.Closing) {
			a.of("payment").probes++
		},
		"spans lost 1, not sent 0: connection refused": func(_ *arrival, c *platform.Closing) {
			c.Traces.Lost,
				c.Undelivered = 1, "connection refused"
		},
		"log records lost 0, not sent 1": func(_ *arrival, c *platform.Closing) { c.Logs.Left = 1 },
		"a part of telemetry was off: bad endpoint": func(_ *arrival, c *platform.Closing) {
			c.Degraded = "bad endpoint"
		},
		"metric data points lost 2, not sent 0": func(_ *arrival, c *platform.Closing) { c.Metrics.Lost = 2 },
	} {
		_, err := print(change)
		require.ErrorContains(t, err, want)
	}
	// 16 is 12 more than 4, six times the standard error of 2: still chance.
	_, err = print(func(_ *arrival, c *platform.Closing) {
		c.Operations[op.name] = platform.Count{Made: 16, Failed: 1, Slow: 1}
	})
	require.NotContains(t, err.Error(), "estimated")
}

// Several errors below one request are one failed request, and an error in one of two requests is
// not the other's.
func TestErrorsBelongToTheirLocalRoot(t *testing.T) {
	span := func(id, parent, kind, status string) otlptest.Span {
		s := root(id, "0")
		s.TraceID, s.Kind, s.Status.Code, s.Name = "t", kind, status, kind+" "+id
		if parent != "" {
			s.ParentSpanID = "000000000000000" + parent
		}
		return s
	}
	a := &arrival{operations: make(map[operation]*seen), services: make(map[string]*signals)}
	a.countErrors([]otlptest.Span{
		span("1", "", "server", "unset"),
		span("2", "1", "internal", "error"), span("3", "2", "client", "error"), span("4", "1", "client", "error"),
		span("5", "4", "server", "unset"), span("6", "9", "internal", "error"), // its parent has not arrived
	})
	require.Equal(t, 1, a.at(operation{"payment", "server 1"}).failed)
	require.Zero(t, a.at(operation{"payment", "server 5"}).failed)
}
