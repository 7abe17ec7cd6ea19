package w3c_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry/internal/w3c"
)

var traceID = trace.TraceID{1}

func spanContext(t testing.TB, id trace.TraceID, state trace.TraceState) trace.SpanContext {
	t.Helper()
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{2}, TraceState: state})
}

func TestMergedKeepsTheOrder(t *testing.T) {
	insert := func(key, value string) func(*testing.T, trace.TraceState) trace.TraceState {
		return func(t *testing.T, state trace.TraceState) trace.TraceState {
			changed, err := state.Insert(key, value)
			require.NoError(t, err)
			return changed
		}
	}
	for name, tc := range map[string]struct {
		received string
		change   func(*testing.T, trace.TraceState) trace.TraceState
		known    string // what the span context has, and is exported
		sent     string
	}{
		"unchanged":               {"a=1,x@=2,b=3,y@=4,c=5", nil, "a=1,b=3,c=5", "a=1,x@=2,b=3,y@=4,c=5"},
		"kept ones alone":         {"x@=2,y@=4", nil, "", "x@=2,y@=4"},
		"kept ones at both ends":  {"x@=2,a=1,y@=4", nil, "a=1", "x@=2,a=1,y@=4"},
		"a new one goes in front": {"x@=2,a=1,y@=4", insert("ot", "th:8"), "ot=th:8,a=1", "ot=th:8,x@=2,a=1,y@=4"},
		"a changed one moves there": {"a=1,x@=2,b=3,y@=4,c=5", insert("b", "6"), "b=6,a=1,c=5",
			"b=6,a=1,x@=2,y@=4,c=5"},
		"ours stays in front of it": {"ot=th:8,x@=2,a=1", insert("a", "6"), "a=6,ot=th:8", "ot=th:8,a=6,x@=2"},
		"one that is gone": {"a=1,x@=2,b=3",
			func(_ *testing.T, s trace.TraceState) trace.TraceState { return s.Delete("a") }, "b=3", "x@=2,b=3"},
		"all are gone": {"a=1,x@=2",
			func(*testing.T, trace.TraceState) trace.TraceState { return trace.TraceState{} }, "", "x@=2"},
		"a new one beyond 32 members": {numbered(32), insert("ot", "th:8"), "ot=th:8", "ot=th:8," + numbered(31)},
	} {
		t.Run(name, func(t *testing.T) {
			state, beside, ok := w3c.SplitTraceState(tc.received, traceID)
			require.True(t, ok)
			if tc.change != nil {
				state = tc.change(t, state)
			}
			require.Equal(t, tc.known, state.String())
			for range 2 { // several requests may leave under one context
				sent, ok := beside.Merged(spanContext(t, traceID, state))
				require.True(t, ok)
				require.Equal(t, tc.sent, sent)
			}
			_, ok = beside.Merged(spanContext(t, trace.TraceID{9}, state))
			require.False(t, ok, "another trace")
		})
	}
}

func TestMergedAtTheBoundAndOnePastIt(t *testing.T) {
	sized := func(key string, size int) string { return key + "=" + strings.Repeat("v", size-len(key)-1) }
	four := strings.Join([]string{sized("a@", 102), sized("b@", 102), sized("c@", 102), sized("d@", 102)}, ",")
	ours := "ot=" + strings.Repeat("v", 200)
	for name, tc := range map[string]struct{ received, sent string }{
		"512 bytes":                  {four + "," + sized("e@", 100), four + "," + sized("e@", 100)},
		"513 bytes":                  {four + "," + sized("e@", 101), four},
		"513 bytes when one is gone": {four + "," + sized("e@", 101) + "," + sized("f@", 10), four},
		"512 bytes when one is gone": {four + "," + sized("e@", 100) + "," + sized("f@", 10),
			four + "," + sized("e@", 100)},
		"129 bytes go first":         {sized("z@", 129) + "," + four, four},
		"128 bytes go in their turn": {sized("z@", 128) + "," + four, sized("z@", 128) + "," + four[:3*103-1]},
		"ours stays, however large":  {four + "," + sized("e@", 102) + "," + ours, ours + "," + four[:3*103-1]},
		"ours stays, among large ones, too": {sized("a@", 256) + "," + sized("b@", 256) + "," + ours,
			ours + "," + sized("a@", 256)},
	} {
		t.Run(name, func(t *testing.T) {
			state, beside, ok := w3c.SplitTraceState(tc.received, traceID)
			require.True(t, ok)
			sent, ok := beside.Merged(spanContext(t, traceID, state))
			require.True(t, ok)
			require.Equal(t, tc.sent, sent)
		})
	}
}

func numbered(n int) string {
	const keys = "abcdefghijklmnopqrstuvwxyz012345"
	var members []string
	for _, key := range keys[:n] {
		members = append(members, string(key)+"@=1")
	}
	return strings.Join(members, ",")
}

func TestNothingKeptMergesNothing(t *testing.T) {
	_, beside, ok := w3c.SplitTraceState("a=1,a=2", traceID)
	require.True(t, ok)
	require.Nil(t, beside)
	_, ok = beside.Merged(spanContext(t, traceID, trace.TraceState{}))
	require.False(t, ok)
}

func TestSplitTraceStateRefuses(t *testing.T) {
	for _, list := range []string{"x@=1,@a=1", "x@=1,a =1", "x@=1,A=1", "x@=1,\u00e4=1", "x@=1,a=\u00e4", "x@=1,a=\x7f",
		"x@=1,a=\x1f", "x@=1,a", "x@=1,a=", "x@=1,=1", "x@=1,a=b=c",
		"x@=1," + strings.Repeat("k", 257) + "=1", "x@=1,a=" + strings.Repeat("v", 257), numbered(32) + ",z=1"} {
		_, _, ok := w3c.SplitTraceState(list, traceID)
		require.False(t, ok, "%q", list)
	}
}

// level2 is the list of the specification (§3.3.1.3), as a regular expression.
var level2 = regexp.MustCompile(`^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$`)

func FuzzTraceState(f *testing.F) {
	f.Add("foo@=1,bar=2,ot=th:8", "th:4")
	f.Add("foo=1,foo=2, ,\t1a= x", "")
	f.Add(strings.Repeat("z", 256)+"@=1,"+strings.Repeat("y", 256)+"=1", "rv:ffffffffffffff")
	f.Fuzz(func(t *testing.T, list, own string) {
		state, beside, ok := w3c.SplitTraceState(list, traceID)
		if !ok {
			return
		}
		if changed, err := state.Insert("ot", own); err == nil {
			state = changed
		}
		sent, ok := beside.Merged(spanContext(t, traceID, state))
		if !ok {
			require.Nil(t, beside)
			return
		}
		require.LessOrEqual(t, len(sent), 512)
		members := strings.Split(sent, ",")
		require.LessOrEqual(t, len(members), 32)
		seen := map[string]bool{}
		for _, m := range members {
			require.Regexp(t, level2, m)
			key, _, _ := strings.Cut(m, "=")
			require.False(t, seen[key], "twice: %s", key)
			seen[key] = true
		}
		if value := state.Get("ot"); value != "" {
			require.Equal(t, "ot="+value, members[0])
		}
	})
}
