package platform

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/fleetotel/telemetry"
)

// maxBody bounds the body of a request or an answer; the shop's need some hundred bytes.
const maxBody = 64 << 10

// HTTPClient makes a client span of each request and hands the trace context on.
func HTTPClient() *http.Client {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 64 // net/http keeps 2, and would dial anew for nearly every request under load
	return &http.Client{Transport: telemetry.Transport(base), Timeout: 10 * time.Second}
}

// Answer writes v as JSON. A caller who has gone away is no error of the service.
func Answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ReadJSON reads the body of a request into v.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
}
