package delivery

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// grpcReply judges a failed call by the table of the OTLP specification
// ("OTLP/gRPC Response", "Failures").
func grpcReply(ctx context.Context, err error, secrets []string, limit time.Duration) reply {
	s := status.Convert(err)
	if oversize(s) {
		return reply{verdict: tooLarge, err: grpcError(s, secrets)}
	}
	if s.Code() == codes.DeadlineExceeded {
		awaitEnd(ctx)
	}
	r := reply{verdict: refused, err: ended(ctx, grpcError(s, secrets), limit)}
	after, asked := retryInfo(s)
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		r.verdict, r.after, r.absent = retry, after, noListener(s)
		if badCertificate(s) {
			r.verdict, r.place = refused, true
		}
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		r.place = true
	case codes.ResourceExhausted:
		// Without RetryInfo the server does not expect to recover.
		if asked {
			r.verdict, r.after = retry, after
		}
	}
	return r
}

// awaitEnd waits for an end of ctx that is a moment away: the server knows the
// deadline, too, and may reset the stream just before our own clock strikes.
func awaitEnd(ctx context.Context) {
	const moment = 50 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < moment {
		<-ctx.Done()
	}
}

// retryInfo returns how long the server asks to wait, and whether it says
// anything about it.
func retryInfo(s *status.Status) (time.Duration, bool) {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), maxRetryAfter), true
		}
	}
	return 0, false
}

// oversize reports whether the server, or our own side of the connection,
// refuses a message for its size. There is no code for it, only words: grpc-go's,
// Java's and C++'s, and a proxy's 413.
func oversize(s *status.Status) bool {
	msg := strings.ToLower(s.Message())
	switch s.Code() {
	case codes.ResourceExhausted:
		return strings.Contains(msg, "larger than max") ||
			strings.Contains(msg, "exceeds maximum size") ||
			strings.Contains(msg, "exceeds maximum allowed size") ||
			strings.Contains(msg, "message too large")
	case codes.Unknown, codes.Internal:
		return strings.Contains(msg, "received from server: 413 ")
	}
	return false
}

// badCertificate reports whether a handshake failed for a reason that only a
// person can remove. gRPC calls it Unavailable.
func badCertificate(s *status.Status) bool {
	msg := s.Message()
	return strings.Contains(msg, "authentication handshake failed") &&
		(strings.Contains(msg, "x509:") || strings.Contains(msg, "first record does not look like a TLS handshake"))
}

// noListener is absent for gRPC, which keeps nothing of an error but its words.
// A server's own words about others that it cannot reach have no dialing in them.
func noListener(s *status.Status) bool {
	msg := s.Message()
	if strings.Contains(msg, "Error while dialing: ") {
		return strings.Contains(msg, "connection refused") || strings.Contains(msg, "cannot assign requested address")
	}
	return strings.Contains(msg, "name resolver error: produced zero addresses")
}

// grpcError words a status: its code, and of gRPC's nested messages about
// connections the innermost.
func grpcError(s *status.Status, secrets []string) error {
	msg := s.Message()
	if s.Code() == codes.Unavailable {
		if _, inner, ok := strings.Cut(msg, "Error while dialing: "); ok {
			return errors.New(strings.TrimSuffix(note(inner, secrets), `"`))
		}
	}
	text := s.Code().String()
	if msg = note(msg, secrets); msg != "" {
		text += ": " + msg
	}
	return &Answer{GRPCCode: s.Code(), text: text}
}
