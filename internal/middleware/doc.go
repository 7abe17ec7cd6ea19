// Package middleware holds the parts that the HTTP instrumentation is made of: what a handler has answered, and the
// metrics of the semantic conventions.
package middleware
