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

// reply interprets the result of a call.
func (a *grpcAnswer) reply(ctx context.Context, err error, resp any, secrets []string, limit time.Duration) reply {
	switch {
	case err != nil:
		return a.failure(ctx, status.Convert(err), secrets, limit)
	case a.unreadable != nil:
		return unreadableReply(a.unreadable, secrets)
	}
	return partialReply(rejectedBy(resp, secrets))
}

// failure interprets a failed call. For a status from the server it follows the table of the OTLP
// specification ("OTLP/gRPC Response", "Failures"). A status that did not come from the server says
// nothing about the request, which is then worth another attempt.
func (a *grpcAnswer) failure(ctx context.Context, s *status.Status, secrets []string, limit time.Duration) reply {
	if s.Code() == codes.DeadlineExceeded {
		awaitEnd(ctx)
	}
	switch a.origin(s) {
	case fromServer:
		return statusReply(ctx, s, secrets, limit)
	case fromHTTP:
		r := statusReply(ctx, s, secrets, limit)
		if r.verdict == refused {
			r.verdict = refusal(httpStatusOf(s.Message()))
		}
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
	r := reply{verdict: retry, noListener: noGRPCListener(s), err: ended(ctx, transportError(s, secrets), limit)}
	if badCertificate(s) {
		r.verdict = misconfigured
	}
	return r
}

// statusReply interprets a status that the server or a proxy has sent.
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
		r.verdict = misconfigured
	case codes.ResourceExhausted:
		// Without RetryInfo the server does not expect to recover.
		if asked {
			r.verdict, r.after = retry, after
		}
	}
	return r
}

// awaitEnd waits for the end of ctx if it is at most 50 ms away: the server knows the deadline,
// too, and may reset the stream just before ctx ends.
func awaitEnd(ctx context.Context) {
	const moment = 50 * time.Millisecond
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < moment {
		<-ctx.Done()
	}
}

// retryInfo returns how long the server asks to wait, and whether it says anything about it.
func retryInfo(s *status.Status) (time.Duration, bool) {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), maxRetryAfter), true
		}
	}
	return 0, false
}

// oversize reports whether the server refuses a message for its size. There is no code for it, only
// texts: those of grpc-go, Java and C++, and a proxy's 413.
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

// badCertificate reports whether a handshake failed for a reason that only a person can remove.
// gRPC calls it Unavailable.
func badCertificate(s *status.Status) bool {
	msg := s.Message()
	return strings.Contains(msg, "authentication handshake failed") &&
		(strings.Contains(msg, "x509:") || strings.Contains(msg, "first record does not look like a TLS handshake"))
}

// noGRPCListener is noListener for gRPC, which keeps only the text of an error.
func noGRPCListener(s *status.Status) bool {
	msg := s.Message()
	if strings.Contains(msg, "Error while dialing: ") {
		return strings.Contains(msg, "connection refused") || strings.Contains(msg, "cannot assign requested address")
	}
	return strings.Contains(msg, "name resolver error: produced zero addresses")
}

// statusAnswer describes a status that the server or a proxy has sent.
func statusAnswer(s *status.Status, secrets []string) error {
	text := s.Code().String()
	if msg := note(s.Message(), secrets); msg != "" {
		text += ": " + msg
	}
	return &Answer{GRPCCode: s.Code(), text: text}
}

// transportError describes why there is no status from the server, without the code that gRPC has
// made for it. Of nested messages about connections it takes the innermost.
func transportError(s *status.Status, secrets []string) error {
	msg := s.Message()
	if _, inner, ok := strings.Cut(msg, "Error while dialing: "); ok {
		return errors.New(strings.TrimSuffix(note(inner, secrets), `"`))
	}
	switch {
	case s.Code() > codes.Unauthenticated:
		return &Answer{GRPCCode: s.Code(),
			text: fmt.Sprintf("the answer has an unknown status: %d: %s", s.Code(), note(msg, secrets))}
	case msg == "":
		return errors.New("the answer has no status")
	}
	return errors.New(note(msg, secrets))
}
