// Package logs stands between slog and the branches that write its records. [Handler] walks the values of a record once,
// within one budget, and hands plain values and [Node] trees on, so that nothing behind it calls a method of a service's
// value or follows a value that holds itself. [StdWriter] takes what arrives through package log.
//
// A value is shown as encoding/json would show it, by its struct tags and its MarshalJSON and MarshalText. The methods that
// encoding/json does not call, Error below the top and String, are called only on values that do not hold themselves.
package logs

const (
	// MaxDepth is how deep a value may nest. Maps, slices, structs, pointers, groups, and the interfaces in between
	// count one level each. A collector refuses a request that nests some 3,000 levels.
	MaxDepth = 64
	// MaxElements is how many elements of maps, slices, structs and groups a record may have in all its values together.
	MaxElements = 10_000
	// MaxBytes is how much text the maps, slices, structs, errors and other objects of a record may have together. A
	// collector takes 4 MiB over gRPC. Strings that are attributes themselves do not count: they have their own limit.
	MaxBytes = 1 << 20
	// MaxValueElements and MaxValueBytes are what one attribute may take of that, so that it leaves some to the others.
	MaxValueElements = 4_096
	MaxValueBytes    = 128 << 10
)
