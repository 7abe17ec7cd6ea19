// Package spool keeps OTLP requests on disk until they can be delivered, across crashes of the
// process. It deals with files and not with networks: internal/delivery fills and empties it.
//
//	delivery.Endpoint --> Store.Put --> own subdirectory --> Store.Claim, Load --> delivery.Replayer
//	                                         ^    |                                   |
//	subdirectory of a dead process --> Adopt-+    |                 Settle, Replace, Release
//	                                              v
//	                             the oldest are removed when the spool is full
//
// A directory is shared by any number of processes. Each has its own subdirectory, with a lock that
// ends with the process. A living process adopts what a dead one has left. A file is one request,
// which is called a segment. It has a header with a checksum, and the gzipped
// Export…ServiceRequest, which is the same for HTTP and gRPC:
//
//	<dir>/p-<random>/<time>-<random>-<signal>-<items>.otlp
//
// Nothing else of a request is kept: no header, no credential, no address. A file that cannot be
// read is set aside as <dir>/….corrupt, of which the newest ten are kept.
package spool
