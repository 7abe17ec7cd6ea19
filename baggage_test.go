package telemetry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/internal/otlptest"
)

// overfull is what a service has put into baggage member by member, which no limit stops.
func overfull(t testing.TB, members, size int) context.Context {
	t.Helper()
	var bag baggage.Baggage
	for i := range members {
		member, err := baggage.NewMemberRaw(fmt.Sprintf("key%03d", i), strings.Repeat("\u00fc", size/6))
		require.NoError(t, err)
		bag, err = bag.SetMember(member)
		require.NoError(t, err)
	}
	return baggage.ContextWithBaggage(context.Background(), bag)
}

// outward are the ways in which baggage leaves a process; each returns it as it arrives.
func outward() map[string]func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
	return map[string]func(*testing.T, context.Context, *telemetry.Guard) string{
		"Transport": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			var arrived []string
			server := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived = r.Header.Values("Baggage") }))
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
			require.NoError(t, err)
			response, err := telemetry.Transport(server.Client().Transport, telemetry.WithGuard(guard)).RoundTrip(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			return strings.Join(arrived, ",")
		},
		"ClientHandler": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			service := &baggageServer{}
			client := testpb.NewTestServiceClient(grpcConn(t, service, telemetry.ServerHandler(), telemetry.ClientHandler(telemetry.WithGuard(guard))))
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			require.NoError(t, err)
			return strings.Join(service.arrived, ",")
		},
		"Guard.Propagator": func(_ *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			carrier := propagation.MapCarrier{}
			guard.Propagator().Inject(ctx, carrier)
			return carrier["baggage"]
		},
		"Inject, with a propagator of the service's own": func(t *testing.T, ctx context.Context, _ *telemetry.Guard) string {
			setPropagator(t, propagation.Baggage{})
			headers := map[string]string{}
			telemetry.Inject(ctx, telemetry.MessageCarrier(headers))
			return headers["baggage"]
		},
		"InjectEnv": func(t *testing.T, ctx context.Context, guard *telemetry.Guard) string {
			setPropagator(t, guard.Propagator())
			for _, entry := range telemetry.InjectEnv(ctx, []string{}) {
				if value, ok := strings.CutPrefix(entry, "BAGGAGE="); ok {
					return value
				}
			}
			return ""
		},
	}
}

type baggageServer struct {
	testpb.UnimplementedTestServiceServer
	arrived []string
}

func (s *baggageServer) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.arrived = md.Get("baggage")
	return &testpb.Empty{}, nil
}

func TestOutboundBaggageIsBounded(t *testing.T) {
	for name, tc := range map[string]struct{ members, size, arrive int }{
		"60 members of 180 bytes, 22 kB encoded": {60, 360, 22},
		"65 small members":                       {65, 6, 64},
		"64 small members":                       {64, 6, 64},
		"one of 10 kB":                           {1, 10_000, 0},
	} {
		for way, send := range outward() {
			t.Run(name+"/"+way, func(t *testing.T) {
				guard, _ := start(t, otlptest.New(t))
				ctx := overfull(t, tc.members, tc.size)
				arrived := send(t, ctx, guard)
				require.LessOrEqual(t, len(arrived), 8192)
				bag, err := baggage.Parse(arrived)
				require.NoError(t, err)
				require.Equal(t, tc.arrive, bag.Len())
				for _, m := range bag.Members() {
					require.Equal(t, baggage.FromContext(ctx).Member(m.Key()).Value(), m.Value(), "members arrive whole")
				}
			})
		}
	}
}

func TestOutboundBaggageIsSaidOnce(t *testing.T) {
	guard, console := start(t, otlptest.New(t))
	for range 100 {
		guard.Propagator().Inject(overfull(t, 70, 6), propagation.MapCarrier{})
	}
	const line = "outbound baggage is beyond the limits of W3C Baggage, 64 members and 8192 bytes: 6 of 70 members are left out, \\\"key064\\\" first"
	require.Equal(t, 1, strings.Count(console.String(), line), console.String())
	require.NotContains(t, console.String(), "\u00fc", "values must not be shown")

	t.Run("not where no baggage goes out", func(t *testing.T) {
		guard, console := start(t, otlptest.New(t), telemetry.WithPropagators(propagation.TraceContext{}))
		guard.Propagator().Inject(overfull(t, 70, 6), propagation.MapCarrier{})
		require.NotContains(t, console.String(), "baggage")
	})
	t.Run("to OpenTelemetry's error handler where there is no guard", func(t *testing.T) {
		if !isChild() {
			require.Equal(t, 1, strings.Count(runTest(t, t.Name()), "6 of 70 members are left out"))
			return
		}
		previous := otel.GetErrorHandler()
		defer otel.SetErrorHandler(previous)
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Log(err) }))
		for range 3 {
			telemetry.Inject(overfull(t, 70, 6), propagation.MapCarrier{})
		}
	})
}
