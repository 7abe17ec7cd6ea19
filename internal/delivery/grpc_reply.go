package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reply judges a call.
func (a *grpcAnswer) reply(ctx context.Context, err error, resp any, secrets []string, limit time.Duration) reply {
	switch {
	case err != nil:
		return a.failure(ctx, status.Convert(err), secrets, limit)
	case a.unreadable != nil:
		return unreadableReply(a.unreadable, secrets)
	}
	return partialReply(rejectedBy(resp, secrets))
}

// failure judges a failed call: what the server says by the table of the OTLP
// specification ("OTLP/gRPC Response", "Failures"). What did not come as a status
// from the server says nothing about the request and is worth another attempt.
func (a *grpcAnswer) failure(ctx context.Context, s *status.Status, secrets []string, limit time.Duration) reply {
	if s.Code() == codes.DeadlineExceeded {
		awaitEnd(ctx)
	}
	switch a.origin(s) {
	case fromServer:
		return statusReply(ctx, s, secrets, limit)
	case fromHTTP:
		r := statusReply(ctx, s, secrets, limit)
		r.place = r.verdict == refused && aboutPlace(httpStatusOf(s.Message()))
		return r
	case fromReading:
		return unreadableReply(errors.New(s.Message()), secrets)
	case fromSending:
		r := reply{verdict: tooLarge, err: transportError(s, secrets)}
		if strings.HasPrefix(s.Message(), unencodable) {
			r.verdict = refused
		}
		return r
	}
	r := reply{verdict: retry, absent: noListener(s), err: ended(ctx, transportError(s, secrets), limit)}
	if badCertificate(s) {
		r.verdict, r.place = refused, true
	}
	return r
}

// statusReply judges a status that the server or a proxy has sent.
func statusReply(ctx context.Context, s *status.Status, secrets []string, limit time.Duration) reply {
	if oversize(s) {
		return reply{verdict: tooLarge, err: statusAnswer(s, secrets)}
	}
	r := reply{verdict: refused, err: ended(ctx, statusAnswer(s, secrets), limit)}
	after, asked := retryInfo(s)
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		r.verdict, r.after = retry, after
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

// oversize reports whether the server refuses a message for its size. There is no
// code for it, only words: grpc-go's, Java's and C++'s, and a proxy's 413.
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
func noListener(s *status.Status) bool {
	msg := s.Message()
	if strings.Contains(msg, "Error while dialing: ") {
		return strings.Contains(msg, "connection refused") || strings.Contains(msg, "cannot assign requested address")
	}
	return strings.Contains(msg, "name resolver error: produced zero addresses")
}

// statusAnswer words a status that the server or a proxy has sent.
func statusAnswer(s *status.Status, secrets []string) error {
	text := s.Code().String()
	if msg := note(s.Message(), secrets); msg != "" {
		text += ": " + msg
	}
	return &Answer{GRPCCode: s.Code(), text: text}
}

// transportError words what kept a request from a status, without the code that
// gRPC has made up for it: of nested messages about connections the innermost.
func transportError(s *status.Status, secrets []string) error {
	msg := s.Message()
	if _, inner, ok := strings.Cut(msg, "Error while dialing: "); ok {
		return errors.New(strings.TrimSuffix(note(inner, secrets), `"`))
	}
	switch {
	case s.Code() > codes.Unauthenticated:
		return &Answer{GRPCCode: s.Code(), text: fmt.Sprintf("the answer has an unknown status: %d: %s", s.Code(), note(msg, secrets))}
	case msg == "":
		return errors.New("the answer has no status")
	}
	return errors.New(note(msg, secrets))
}
