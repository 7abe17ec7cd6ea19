package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

func readResult(t *testing.T, file string) (did result) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &did))
	return did
}

// The whole program, as the README runs it.
func TestLaunch(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "did.json")
	require.NoError(t, run(t.Context(), &out, []string{"-duration", "2s", "-json", file}), "%s", &out)
	t.Log(out.String())
	require.Contains(t, out.String(), "One order: trace ")
	require.Contains(t, out.String(), "linked to send orders.placed")
	require.Contains(t, out.String(), "INSERT orders")
	require.Contains(t, out.String(), "(OTEL_SDK_DISABLED=true)")
	require.Contains(t, out.String(), "\nEverything arrived.\n")

	did := readResult(t, file)
	require.Zero(t, did.Load.Wrong)
	require.Positive(t, did.Load.Declined)
	require.Positive(t, did.Load.Slow)
	require.Greater(t, did.Load.Requests(), 400, "20, and the burst")
	require.Len(t, did.Services, len(services))
	storefront := did.Services["storefront"].Operations
	require.EqualValues(t, did.Load.Browsed, storefront["GET /products"].Made+storefront["GET /products/{id}"].Made)
	require.EqualValues(t, did.Load.Ordered, storefront["POST /orders"].Made)
	require.EqualValues(t, did.Load.Declined, storefront["POST /orders"].Failed)
	require.EqualValues(t, did.Load.Ordered-did.Load.Declined,
		did.Services["fulfilment"].Operations["process orders.placed"].Made,
		"what is published is on its way when checkout stops, and worked on when fulfilment does")
	for _, name := range []string{"payment", "inventory", "checkout", "fulfilment", "storefront"} {
		require.Positive(t, did.Probes[name], name)
		require.Positive(t, did.CPU[name], name)
	}
}

// Ctrl-C ends the load, not the order: what was done until then is reported, and has arrived.
func TestLaunchInterrupted(t *testing.T) {
	collector := otlptest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.HTTPEndpoint())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &trigger{text: regexp.MustCompile(`second +requests`),
		pull: func() { time.AfterFunc(700*time.Millisecond, cancel) }}
	began := time.Now()
	require.NoError(t, run(ctx, out, []string{"-duration", "10m"}), "%s", out)
	require.Less(t, time.Since(began), time.Minute)
	require.Contains(t, out.String(), "telemetry   to OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
	require.Contains(t, out.String(), "Nothing was lost on the way out.")
	require.NotContains(t, out.String(), "OTEL_SDK_DISABLED", "half a run compares with nothing")
	require.NotEmpty(t, collector.Spans())
}

func TestLaunchFailsWhenNothingIsDelivered(t *testing.T) {
	t.Setenv("TELEMETRY_SHUTDOWN_TIMEOUT", "300")
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:1":             "payment: spans lost",
		"http://user:secret@127.0.0.1:1": "payment: a part of telemetry was off",
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
		var out bytes.Buffer
		err := run(t.Context(), &out, []string{"-duration", "1s", "-compare=false"})
		require.ErrorContains(t, err, "not everything arrived")
		require.ErrorContains(t, err, want)
		require.NotContains(t, out.String()+err.Error(), "secret")
	}
}

// trigger is a buffer that does something when a text is written to it.
type trigger struct {
	bytes.Buffer
	text *regexp.Regexp
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if w.text.Match(p) {
		w.pull()
	}
	return w.Buffer.Write(p)
}
