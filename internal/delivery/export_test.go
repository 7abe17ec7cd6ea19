package delivery

import "google.golang.org/grpc/stats"

// AnswerStats is told what comes from a server.
var AnswerStats stats.Handler = answerStats{}

// OpenConns is how many connections e believes to be open.
func (e *Endpoint) OpenConns() int {
	e.dialer.mu.Lock()
	defer e.dialer.mu.Unlock()
	return len(e.dialer.conns)
}

// Through is through, for tests.
var Through = through
