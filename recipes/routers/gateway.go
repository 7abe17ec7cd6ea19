package routers

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"

	"github.com/fleetotel/telemetry"
)

func grpcGateway(recovered bool) http.Handler {
	// begin: routes
	route := func(c context.Context) string { pattern, _ := runtime.HTTPPattern(c); return pattern.String() }
	tell := func(c context.Context, _ *http.Request) metadata.MD { telemetry.SetRoute(c, route(c)); return nil }
	gateway := runtime.NewServeMux(runtime.WithMetadata(tell))
	// end: routes
	for path, next := range map[string]http.HandlerFunc{
		"/orders": order, "/orders/{id}": order, "/api/items/{id}": order, "/crash": crash, "/updates": updates,
	} {
		// what protoc-gen-grpc-gateway writes
		generated := func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			ctx, err := runtime.AnnotateContext(r.Context(), gateway, r, "/shop.v1.Orders/Get",
				runtime.WithHTTPPathPattern(path))
			if err != nil {
				runtime.HTTPError(ctx, gateway, &runtime.JSONPb{}, w, r, err)
				return
			}
			next(w, r.WithContext(ctx))
		}
		if err := gateway.HandlePath(http.MethodGet, path, generated); err != nil {
			panic(err)
		}
	}
	handler := telemetry.Handler(gateway)
	if recovered {
		handler = telemetry.Handler(recovery(handler))
	}
	return handler
}
