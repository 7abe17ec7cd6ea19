// Package contain keeps the failures of a service's code from the library and from the rest of the
// service.
//
// [Catch] turns a panic into an error. It is for code that the library calls once: exporters,
// detectors, header functions.
//
// [MeterProvider] and [Producer] are for code that each collection of metrics runs: callbacks and
// producers. With the SDK alone, a callback that returns an error costs the whole collection, one
// that panics ends the process, and one that blocks holds up every later export. Each of them
// becomes a task (task.go), which runs in a goroutine for each collection:
//
//	collection --> task.do --> goroutine: Catch(callback) --> observations, until the collection goes on
//	                  |
//	                  +-- error, panic, no return in time --> report, once for each cause
//
// A callback or producer that fails is reported and affects no other. What it observed before it
// failed counts, as in the SDK, since each observation is true by itself.
//
// It may take half of the time that the collection has left, at most 10 s, and an eighth while
// another one hangs. Then its context ends. If it ignores that, it is abandoned: the collection
// goes on, later observations of the call do not count, and it is not called again before it has
// returned. A goroutine cannot be ended from outside, so there is one for each callback that never
// returns, and no more.
package contain
