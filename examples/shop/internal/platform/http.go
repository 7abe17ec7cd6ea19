package platform

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/fleetotel/telemetry"
)

// maxBody limits the body of a request or an answer, in bytes; the shop needs a few hundred.
const maxBody = 64 << 10

// HTTPClient returns a client that makes a span for each request and sends the trace context.
func HTTPClient() *http.Client {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64 // the default of 2 opens new connections for most requests under load
	return &http.Client{Transport: telemetry.Transport(base), Timeout: 10 * time.Second}
}

// Answer writes v as JSON. A client that has disconnected is not an error of the service.
func Answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ReadJSON reads the body of a request into v.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
}
