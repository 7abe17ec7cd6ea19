// Package telemetrytest lets a service's tests see the telemetry that the service sends: a real OTLP collector in the test's
// own process, with outages to order, and telemetry that begins and ends with the test.
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
// Everything goes the way it goes in production, through batches, OTLP and HTTP, to a collector on the loopback interface.
// Asking what has arrived flushes first, and the Require methods wait for what is still under way, so a test never sleeps.
// When one fails, it shows the whole trace:
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
// [Start] is for services that take a guard, or use OpenTelemetry's globals. For one that calls telemetry.Init itself, or
// runs as a process of its own, [NewCollector] is the other end, with the same questions.
package telemetrytest
