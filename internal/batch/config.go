package batch

import (
	"errors"
	"time"
)

// Config bounds an engine. A field that is zero or less has its default.
type Config struct {
	// MaxQueueSize is how many items wait at most for an export, not counting those in flight:
	// OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BLRP_MAX_QUEUE_SIZE. Default: 8,192. Stock: 2,048, which a busy
	// service fills in 0.2 s.
	MaxQueueSize int
	// MaxQueueBytes is how many bytes, by estimate, the engine holds at most: waiting items and,
	// unlike MaxQueueSize, those in flight, because its purpose is to bound memory. Default: 32
	// MiB. Stock: unbounded.
	MaxQueueBytes int64
	// MaxExportBatchSize is how many items one export has at most: OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
	// OTEL_BLRP_MAX_EXPORT_BATCH_SIZE. It is never more than seven eighths of the queue. Default:
	// 1,024. Stock: 512.
	MaxExportBatchSize int
	// MaxExportBatchBytes is how many bytes, by estimate, one export has at most, unless a single
	// item has more. Default: 4 MiB, what a gRPC server accepts unless configured otherwise. Stock:
	// unbounded.
	MaxExportBatchBytes int64
	// MaxConcurrentExports is how many exports are in flight at most. Default: 8, which at 1,024
	// items and 100 ms per export is 80,000 items/s. Stock: 1.
	MaxConcurrentExports int
	// ScheduleDelay is the longest time that an item waits for its batch to fill. Then the batch is
	// exported as soon as an export slot is free: OTEL_BSP_SCHEDULE_DELAY,
	// OTEL_BLRP_SCHEDULE_DELAY. Default: 3 s. Stock: 5 s (spans), 1 s (logs).
	ScheduleDelay time.Duration
	// ExportTimeout bounds the export of a batch, all attempts and parts of it together:
	// OTEL_BSP_EXPORT_TIMEOUT, OTEL_BLRP_EXPORT_TIMEOUT. Default: 30 s.
	ExportTimeout time.Duration
	// Spool says that the exports end in a delivery endpoint with a spool, which gets what is left
	// when the time of a shutdown is over.
	Spool bool
	// OnError, if set, is called with what went wrong and how many items were lost: failed,
	// rejected, too large, or refused because the queue was full; 0 for a server's warning. It is
	// not called for what was spooled, nor for what is dropped at the end of a Shutdown, which the
	// Shutdown's error counts. It is called from the goroutine of an export or of a producer,
	// concurrently, and must not block.
	OnError func(lost int64, err error)
}

func (c Config) withDefaults() Config {
	c.MaxQueueSize = orDefault(c.MaxQueueSize, 8192)
	c.MaxQueueBytes = orDefault(c.MaxQueueBytes, 32<<20)
	c.MaxExportBatchSize = orDefault(c.MaxExportBatchSize, 1024)
	c.MaxExportBatchBytes = orDefault(c.MaxExportBatchBytes, 4<<20)
	c.MaxConcurrentExports = orDefault(c.MaxConcurrentExports, 8)
	c.ScheduleDelay = orDefault(c.ScheduleDelay, 3*time.Second)
	c.ExportTimeout = orDefault(c.ExportTimeout, 30*time.Second)
	// A batch that cannot fill before ordinary items are refused would wait for its delay while
	// items are dropped.
	c.MaxExportBatchSize = min(c.MaxExportBatchSize, ordinary(c.MaxQueueSize))
	c.MaxExportBatchBytes = min(c.MaxExportBatchBytes, ordinary(c.MaxQueueBytes))
	if c.OnError == nil {
		c.OnError = func(int64, error) {}
	}
	return c
}

func orDefault[N int | int64 | time.Duration](value, def N) N {
	if value <= 0 {
		return def
	}
	return value
}

// ordinary returns the part of a bound that items without priority may use: all but the last
// eighth. Of a bound below eight they may use all.
func ordinary[N int | int64](bound N) N { return bound - bound/8 }

var errNoExporter = errors.New("batch: no exporter")
