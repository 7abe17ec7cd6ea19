package telemetry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// What the collector refuses for the credential or the place waits on disk until that is mended, all signals.
func TestSpoolKeepsWhatIsRefusedForThePlace(t *testing.T) {
	faults := map[telemetry.Protocol][]otlptest.Fault{
		telemetry.ProtocolHTTP: {{HTTPStatus: 401}, {HTTPStatus: 403}, {HTTPStatus: 404}, {HTTPStatus: 405}, {HTTPStatus: 407}},
		telemetry.ProtocolGRPC: {{GRPCCode: codes.Unauthenticated}, {GRPCCode: codes.PermissionDenied}, {GRPCCode: codes.Unimplemented}},
	}
	for _, protocol := range protocols {
		for _, fault := range faults[protocol] {
			t.Run(fmt.Sprintf("%s %d %v", protocol, fault.HTTPStatus, fault.GRPCCode), func(t *testing.T) {
				t.Setenv("TELEMETRY_PROBE", "false") // its line would say it first
				c := otlptest.New(t)
				c.SetFault(fault)
				guard, log := spooled(t, c, protocol, t.TempDir())
				emit(guard, 0, 30)
				flushed(t, guard)
				h := sum(t, guard)
				require.Zero(t, h.lost)
				require.Equal(t, h.accepted, h.spooled)
				require.Contains(t, log.String(), "cannot be delivered", "it is said all the same")

				c.SetFault(otlptest.Fault{})
				emit(guard, 30, 1)
				flushed(t, guard)
				eventually(t, func() bool { return sum(t, guard).spooled == 0 }, "the spool is empty")
				requireOnce(t, c, 31)
				require.NoError(t, guard.Shutdown(t.Context()))
				require.Zero(t, sum(t, guard).lost)
			})
		}
	}
}

// What it refuses for the data is lost, and counted, as without a spool.
func TestSpoolKeepsNothingThatIsRefusedForTheData(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			c := otlptest.New(t)
			c.SetFault(otlptest.Fault{HTTPStatus: 400, GRPCCode: codes.InvalidArgument})
			guard, _ := spooled(t, c, protocol, t.TempDir())
			emit(guard, 0, 1)
			require.Error(t, guard.ForceFlush(t.Context()))
			h := sum(t, guard)
			require.Zero(t, h.spooled)
			require.Equal(t, h.accepted, h.lost)
		})
	}
}

// A certificate that is not trusted is of that kind: the authority's file may be the wrong one.
func TestSpoolKeepsWhatACertificateHoldsUp(t *testing.T) {
	ours, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	theirs, err := otlptest.TestCertificates(t.TempDir())
	require.NoError(t, err)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			authority := filepath.Join(t.TempDir(), "ca.pem")
			use := func(from string) {
				pem, err := os.ReadFile(from)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(authority, pem, 0o600))
			}
			use(theirs.CAFile)
			t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority)
			c := otlptest.New(t, otlptest.WithTLS(ours.Server))
			guard, _ := spooled(t, c, protocol, t.TempDir())
			emit(guard, 0, 3)
			flushed(t, guard)
			h := sum(t, guard)
			require.Zero(t, h.lost)
			require.Equal(t, h.accepted, h.spooled)

			use(ours.CAFile)
			require.Eventually(t, func() bool {
				emit(guard, 3, 1)
				flushed(t, guard)
				return sum(t, guard).spooled == 0
			}, 20*time.Second, 100*time.Millisecond)
			require.Subset(t, spanNames(c), []string{"item 0", "item 1", "item 2"})
			require.Subset(t, logBodies(c), []string{"item 0", "item 1", "item 2"})
		})
	}
}
