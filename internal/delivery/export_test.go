package delivery

import "google.golang.org/grpc/stats"

// AnswerStats is told what comes from a server.
var AnswerStats stats.Handler = answerStats{}
