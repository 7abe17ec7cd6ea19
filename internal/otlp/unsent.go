package otlp

import (
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/settings"
	"github.com/fleetotel/telemetry/internal/signal"
)

// maxUnsent bounds the increments that wait for the collector, in compressed bytes. Some 500 series
// that are exported each minute take an hour to fill it.
const maxUnsent = 4 << 20

// UnsentMetrics returns what keeps data points that could not be delivered in time until the next
// export, or nil if nothing has to be kept. Delta points hold the increments of one interval, and
// the SDK forgets them once it has returned them. Cumulative points need not be kept: the next ones
// include them.
func (c *Connections) UnsentMetrics() (*delivery.Unsent, error) {
	if c.cfg.Temporality.Value == settings.TemporalityCumulative {
		return nil, nil
	}
	send, err := c.sender(signal.Metrics, c.cfg.Signals[signal.Metrics].Target.URL)
	if err != nil {
		return nil, err
	}
	return delivery.NewUnsent(send, maxUnsent), nil
}
