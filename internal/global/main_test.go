package global_test

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"
)

// handled holds what reached otel.Handle. Tests look for their own instrument's name in it.
var handled errorLog

type errorLog struct {
	mu   sync.Mutex
	errs []string
}

func (l *errorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err.Error())
}

func (l *errorLog) about(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.errs {
		if strings.Contains(e, text) {
			found = append(found, e)
		}
	}
	return found
}

var uniques atomic.Int64

// unique makes a name that no other test, and no other run of the same one, finds in handled.
func unique(name string) string { return name + ".u" + strconv.FormatInt(uniques.Add(1), 10) + "." }

func TestMain(m *testing.M) {
	otel.SetErrorHandler(&handled)
	goleak.VerifyTestMain(m)
}
