// Package delivery is the one transport policy of the library. It sits under the official OTLP
// exporters, in the HTTP client and the gRPC connection they are given; their own retry, timeout
// and compression are off. It retries what the OTLP specification calls retryable and what a
// restarting collector causes, bounds each attempt, holds workers back while an endpoint is down,
// compresses, and reads the server's verdict.
//
// An exporter's error or nil says neither how many items the server accepted nor why it refused the
// rest. Therefore the verdict travels past the exporter, in values of the request's context:
//
//	batch.Engine and the
//	metric exporter       Unsent       Ask          Replayer: a file of the spool
//	   | *Outcome           |           |              |
//	   | SpoolOnly          | *Outcome  | *Outcome     | *replay
//	   v                    |           | ask          |
//	Export.Run              +-----------+--------------+
//	   v                                v
//	official exporter       Sender, which has encoded bytes
//	   |                                |
//	   +----------------+---------------+
//	                    v
//	         +----------+-----------+
//	         | signal               | *grpcAnswer
//	         v                      v
//	  http.Client with       grpc.ClientConn with
//	  transport.RoundTrip    Endpoint.Interceptor
//	         |                      |
//	         +----------+-----------+
//	                    v
//	             Endpoint.deliver <---> gate and sizes of the signal
//	              |            |
//	              v            v
//	     the server's reply   spool.Store
//	              |
//	              +---> *Outcome: Export.Run sends what is too large in parts, and
//	              |     gives each complete Outcome to the engine, which counts it
//	              +---> *replay: the Replayer removes, halves or postpones the file
//
//	value        set by              read by           says
//	*Outcome     Export, Unsent,     RoundTrip,        how many items there are; then
//	             Ask                 Interceptor       what became of them
//	SpoolOnly    Export, callers     deliver           spool the request, do not send it
//	ask          Ask                 deliver           one attempt without items, past the gate
//	*replay      Replayer            deliver           one attempt; then its reply
//	signal       ForSignal           RoundTrip         whose gate and books the request has
//	*grpcAnswer  Interceptor         stats handler     how much of the answer has come
//
// With a spool, a request goes to disk when its first attempt fails in a retryable way or is
// refused because of the endpoint, at once while its signal's gate is shut, and when its time ends.
// A [Replayer] for each signal sends the oldest file through the same client or connection, with
// today's headers. While the gate is shut, it is the probe that opens the gate. Delivery is at
// least once: a request cut off after the server accepted it is sent again, and so is one whose
// process was killed between the answer and the removal of the file. The server's answer decides
// about a file. If it is too large, it is halved. If it is refused for its content (400), its items
// have failed. If it is refused because of the endpoint (401, 403, 404, certificates), it stays and
// the replay rests. A file that fails where others succeed, or cannot be sent at all, is postponed
// and never dropped.
package delivery
