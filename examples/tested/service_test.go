package tested_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/log"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fleetotel/telemetry"
	"github.com/fleetotel/telemetry/examples/tested"
	"github.com/fleetotel/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start returns a warehouse with five apples and the test's own telemetry.
func start(t *testing.T) (*telemetrytest.Recorder, *tested.Warehouse) {
	t.Helper()
	rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
	warehouse, err := tested.NewWarehouse(rec.Guard, map[string]int{"apple": 5})
	require.NoError(t, err)
	return rec, warehouse
}

func reserve(w *tested.Warehouse, body string) int {
	answer := httptest.NewRecorder()
	w.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/items/apple/reservations",
		strings.NewReader(body)))
	return answer.Code
}

func TestHandler(t *testing.T) {
	t.Parallel()
	rec, warehouse := start(t)
	require.Equal(t, http.StatusCreated, reserve(warehouse, `{"count": 2}`))

	root := rec.RequireSpan(t, "POST /items/{item}/reservations", attribute.Int("http.response.status_code", 201))
	require.Equal(t, "POST /items/{item}/reservations\n  reserve\n", root.Trace().Outline())
	span := root.RequireChild(t, "reserve", attribute.String("item", "apple"), attribute.Int("count", 2))
	span.RequireStatus(t, codes.Unset, "")
	span.RequireEvent(t, "stock read", attribute.Int("left", 5))
	require.Equal(t, 2.0, rec.RequireMetric(t, "warehouse.reserved", attribute.String("item", "apple")).Total())
	rec.RequireNoLeakedSpans(t)
}

func TestSoldOut(t *testing.T) {
	t.Parallel()
	rec, warehouse := start(t)
	require.Equal(t, http.StatusConflict, reserve(warehouse, `{"count": 6}`))

	span := rec.RequireSpan(t, "reserve")
	span.RequireStatus(t, codes.Error, "sold out")
	span.RequireEvent(t, "exception", attribute.String("exception.message", "sold out"))
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	rec, warehouse := start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := warehouse.NewServer()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	client, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })

	require.NoError(t, client.Invoke(t.Context(), "/warehouse.Warehouse/Reserve", wrapperspb.String("apple"),
		new(emptypb.Empty)))
	err = client.Invoke(t.Context(), "/warehouse.Warehouse/Reserve", wrapperspb.String("pear"), new(emptypb.Empty))
	require.ErrorContains(t, err, "sold out")

	rec.RequireSpan(t, "warehouse.Warehouse/Reserve", attribute.String("rpc.response.status_code", "OK")).
		RequireChild(t, "reserve").RequireStatus(t, codes.Unset, "")
	rec.RequireSpan(t, "warehouse.Warehouse/Reserve",
		attribute.String("rpc.response.status_code", "FAILED_PRECONDITION")).
		RequireChild(t, "reserve").RequireStatus(t, codes.Error, "sold out")
}

func TestLogLine(t *testing.T) {
	t.Parallel()
	rec, warehouse := start(t)
	reserve(warehouse, `{"count": 6}`)

	line := rec.RequireSpan(t, "POST /items/{item}/reservations").RequireLog(t, "not reserved",
		attribute.String("item", "apple"))
	require.Equal(t, log.SeverityWarn, line.Severity)
	require.Equal(t, "sold out", line.Attributes["error"])
}

func TestOutage(t *testing.T) {
	t.Parallel()
	rec, warehouse := start(t)
	rec.Down()
	require.Equal(t, http.StatusCreated, reserve(warehouse, `{"count": 1}`), "the service goes on")
	require.Empty(t, rec.Requests())
	rec.Up()

	rec.RequireSpan(t, "reserve")
	rec.RequireLog(t, "reserved")
	require.Zero(t, rec.Guard.Health().Traces.Lost())
}
