// Package batch collects items into batches and exports several batches at a time. It replaces the
// SDK's batch processors, which have one export in flight and do not report what they lose. It is
// generic over the item: spans ([SpanProcessor]) and log records ([LogProcessor]). It knows nothing
// of OTLP.
//
//	OnEnd, OnEmit
//	   | refused without the lock if a limit is reached (refusals.go)
//	   v
//	filling --full, or its delay has passed--> ready --a slot is free--> slots
//	                                                                       |
//	               Stats <-- book <-- delivery.Outcome <-- Export.Run <----+
//
// Each item that is offered to an [Engine] is accepted, and each accepted item is booked exactly
// once: as queued until it is settled, then as exported, failed, rejected, spooled or dropped. What
// became of an export is read from the [delivery.Outcome] that [delivery.Export] puts into the
// export's context.
//
// [Engine.ForceFlush] and [Engine.Shutdown] wait until each batch that exists when they are called
// is settled. When the time of a Shutdown is over, it cancels the exports in flight. What is left
// is booked as dropped, or spooled.
package batch
