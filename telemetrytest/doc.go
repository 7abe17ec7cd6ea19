// Package telemetrytest lets a service's tests check the telemetry that the service sends. It
// provides a real OTLP collector in the test's process, faults to inject, and telemetry that starts
// and ends with the test.
//
//	func TestOrder(t *testing.T) {
//		t.Parallel()
//		rec := telemetrytest.Start(t, telemetry.WithoutGlobals())
//		service := shop.New(rec.Guard)
//
//		service.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/orders/7", nil))
//
//		root := rec.RequireSpan(t, "POST /orders/{id}")
//		root.RequireChild(t, "charge card").RequireStatus(t, codes.Unset, "")
//		root.RequireLog(t, "order placed", attribute.String("order.id", "7"))
//	}
//
// Telemetry takes the same path as in production, through batches, OTLP and HTTP, to a collector on
// the loopback interface. Every query flushes first, and the Require methods wait for data that has
// not arrived yet, so a test never sleeps. If one fails, it shows the whole trace:
//
//	status of span "charge card": want Unset, got Error: "card declined"
//
//	trace 4bf92f3577b34da6a3ce929d0e0e4736
//	POST /orders/{id}  server  2.31ms  Error
//	│    http.request.method=POST http.response.status_code=502 http.route=/orders/{id} url.path=/orders/7 …
//	│    log INFO "order received" order.id=7
//	├─ check stock  internal  214µs
//	│       event reserved
//	│         warehouse=3
//	└─ charge card  client  1.9ms  Error: "card declined"  <--
//	        order.id=7
//
// [Start] is for services that take a guard or use OpenTelemetry's globals. For a service that
// calls telemetry.Init itself or runs as a separate process, use [NewCollector], which has the same
// methods.
package telemetrytest
