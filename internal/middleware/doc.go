// Package middleware records spans and metrics of HTTP requests and gRPC calls.
//
// http.go has the life of a request in an HTTP server. start.go starts its span with what
// attributes.go, forwarded.go and http_methods.go read from the request. response.go and writers.go
// observe the response, route.go takes a route that a router finds late, nested.go joins a handler
// to the one around it, metrics.go records, and hints.go warns about wrong uses of Handler.
// decision.go and timing.go tell the caller about the trace. client.go is for HTTP clients, with
// trust.go for the hosts that may see the trace context. grpc_server.go, with methods.go, and
// grpc_client.go are for gRPC. edge.go supplies all of them with the providers of a guard, or with
// the current globals.
package middleware
