package sampling

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// TestThresholdTable is the table of 1-in-N sampling in trace/tracestate-probability-sampling.md,
// "Converting floating-point probability to threshold value".
func TestThresholdTable(t *testing.T) {
	for _, row := range []struct {
		n          float64
		thresholds [3]string // at precision 3, 4, 5
		count      [3]float64
	}{
		{1, [3]string{"0", "0", "0"}, [3]float64{1, 1, 1}},
		{2, [3]string{"8", "8", "8"}, [3]float64{2, 2, 2}},
		{3, [3]string{"aab", "aaab", "aaaab"}, [3]float64{3.0007326007326007, 3.00004577706569, 3.0000028610256777}},
		{4, [3]string{"c", "c", "c"}, [3]float64{4, 4, 4}},
		{5, [3]string{"ccd", "cccd", "ccccd"}, [3]float64{5.001221001221001, 5.0000762951094835, 5.0000047683761295}},
		{8, [3]string{"e", "e", "e"}, [3]float64{8, 8, 8}},
		{10, [3]string{"e66", "e666", "e6666"}, [3]float64{9.990243902439024, 9.99938968568813, 9.999961853172863}},
		{16, [3]string{"f", "f", "f"}, [3]float64{16, 16, 16}},
		{100, [3]string{"fd71", "fd70a", "fd70a4"},
			[3]float64{100.05496183206107, 99.99771123402633, 100.00009536752259}},
		{1e3, [3]string{"ffbe7", "ffbe77", "ffbe76d"},
			[3]float64{999.5958055290753, 1000.012874769029, 1000.0016987352618}},
		{1e4, [3]string{"fff972", "fff9724", "fff97247"},
			[3]float64{9998.340882002383, 9999.830725674266, 9999.99370426336}},
		{1e5, [3]string{"ffff584", "ffff583a", "ffff583a5"},
			[3]float64{100013.21013412817, 99999.238556461, 99999.96614643588}},
		{1e6, [3]string{"ffffef4", "ffffef39", "ffffef391"},
			[3]float64{1.0016248358208955e+06, 999992.38556461, 1.0000069374699865e+06}},
	} {
		for i, precision := range []int{3, 4, 5} {
			threshold := thresholdFor(1/row.n, precision)
			assert.Equal(t, row.thresholds[i], FormatThreshold(threshold), "1 in %v, precision %d", row.n, precision)
			assert.InEpsilon(t, row.count[i], adjustedCount(threshold), 1e-12, "1 in %v, precision %d", row.n,
				precision)
		}
	}
}

func TestThresholdLimits(t *testing.T) {
	assert.Equal(t, whole-1, thresholdFor(0, 4), "a threshold keeps something")
	assert.Equal(t, whole-1, thresholdFor(math.Exp2(-56), 4))
	assert.Equal(t, "ffffffffffffff", FormatThreshold(whole-1))
	assert.Equal(t, float64(whole), adjustedCount(whole-1))
	assert.Equal(t, uint64(0), thresholdFor(2, 4))
	assert.Equal(t, uint64(0), thresholdFor(math.NaN(), 4))
	for p := 1.0; p > math.Exp2(-40); p /= 1.01 {
		assert.InEpsilon(t, p, probability(thresholdFor(p, 4)), math.Exp2(-12), "the rounding of %v", p)
	}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0", 0, true}, {"8", 0x80000000000000, true}, {"fd70a", 0xfd70a000000000, true}, {"00000000000001", 1, true},
		{"ffffffffffffff", whole - 1, true}, {"", 0, false}, {"000000000000000", 0, false}, {"g", 0, false},
		{"FD70A", 0, false}, {"-1", 0, false}, {" 1", 0, false},
	} {
		got, ok := ParseThreshold(tc.text)
		assert.Equal(t, tc.ok, ok, "%q", tc.text)
		if ok {
			assert.Equal(t, tc.want, got, "%q", tc.text)
		}
	}
	_, ok := parseRandomness("1234567890abc")
	assert.False(t, ok, "rv has exactly 14 digits")
	r, ok := parseRandomness("1234567890abcd")
	assert.True(t, ok)
	assert.Equal(t, uint64(0x1234567890abcd), r)
	assert.Equal(t, uint64(0x09101112131415),
		randomness(trace.TraceID{8: 0x08, 9: 0x09, 10: 0x10, 11: 0x11, 12: 0x12, 13: 0x13, 14: 0x14, 15: 0x15}))
}

func TestTraceStateKeepsWhatIsNotOurs(t *testing.T) {
	for _, tc := range []struct{ name, in, set, erased string }{
		{"empty", "", "ot=th:8", ""},
		{"alone", "ot=th:c", "ot=th:8", ""},
		{"zero", "ot=th:0", "ot=th:8", ""},
		{"explicit randomness", "ot=th:c;rv:1234567890abcd", "ot=th:8;rv:1234567890abcd", "ot=rv:1234567890abcd"},
		{"the old values", "ot=p:8;r:62;th:c", "ot=th:8;p:8;r:62", "ot=p:8;r:62"},
		{"other members", "a=1,ot=th:c,b=2", "ot=th:8,a=1,b=2", "a=1,b=2"},
		{"other members and values", "a=1,ot=th:c;k:v,b=2", "ot=th:8;k:v,a=1,b=2", "ot=k:v,a=1,b=2"},
		{"no ot", "a=1,b=2", "ot=th:8,a=1,b=2", "a=1,b=2"},
		{"malformed", "ot=th:xyz;k:v", "ot=th:8;k:v", "ot=k:v"},
		{"twice", "ot=th:c;th:4", "ot=th:8", ""},
		{"empty fields", "ot=;;th:c;", "ot=th:8", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ts, err := trace.ParseTraceState(tc.in)
			require.NoError(t, err)
			assert.Equal(t, tc.set, withThreshold(ts, whole/2).String())
			assert.Equal(t, tc.erased, withoutThreshold(ts).String())
			assert.Equal(t, tc.in, ts.String(), "the original is left alone")
		})
	}
}

func TestTraceStateOf256Characters(t *testing.T) {
	const rv = "rv:1234567890abcd"
	foreign := "k:" + strings.Repeat("x", 256-len("k:;"+rv))
	ts, err := trace.ParseTraceState("ot=" + foreign + ";" + rv)
	require.NoError(t, err)
	assert.Equal(t, "th:8;"+rv, withThreshold(ts, whole/2).Get("ot"), "what is not ours gives way to th and rv")
	shorter, err := trace.ParseTraceState("ot=" + foreign[:len(foreign)-len("th:8;")] + ";" + rv)
	require.NoError(t, err)
	set := withThreshold(shorter, whole/2).Get("ot")
	assert.Len(t, set, 256)
	assert.True(t, strings.HasSuffix(set, rv))
}

func TestTraceStateWith32Members(t *testing.T) {
	var members []string
	for i := range 32 {
		members = append(members, "k"+strconv.Itoa(i)+"=v")
	}
	full, err := trace.ParseTraceState(strings.Join(members, ","))
	require.NoError(t, err)
	set := withThreshold(full, 0)
	assert.Equal(t, 32, set.Len())
	assert.Equal(t, "th:0", set.Get("ot"))
	assert.Empty(t, set.Get("k31"), "the oldest goes, as W3C asks")
	assert.Equal(t, "v", set.Get("k30"))
}

func TestAdjustedCount(t *testing.T) {
	id := trace.TraceID{0: 1, 9: 0xff}
	for _, tc := range []struct {
		name, state string
		flags       trace.TraceFlags
		count       float64
		ok          bool
	}{
		{"all", "ot=th:0", 1, 1, true},
		{"half", "ot=th:8", 1, 2, true},
		{"one per cent", "ot=th:fd70a", 1, 99.99771123402633, true},
		{"not sampled", "ot=th:8", 0, 0, false},
		{"no th", "", 1, 0, false},
		{"malformed", "ot=th:", 1, 0, false},
		{"contradicts the trace ID", "ot=th:ff8", 1, 0, false},
		{"contradicts the rv", "ot=th:8;rv:70000000000000", 1, 0, false},
	} {
		ts, err := trace.ParseTraceState(tc.state)
		require.NoError(t, err)
		count, ok := AdjustedCount(trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: tc.flags, TraceState: ts,
		}))
		assert.Equal(t, tc.ok, ok, tc.name)
		assert.InDelta(t, tc.count, count, 1e-9, tc.name)
	}
}

func TestGrid(t *testing.T) {
	for j := range gridSize {
		pt := gridPoint(j)
		assert.InEpsilon(t, math.Exp2(-float64(j)/gridSteps), pt.p, math.Exp2(-12))
		state := readState(pt.state)
		assert.True(t, state.hasThreshold)
		assert.Equal(t, pt.threshold, state.threshold, "the threshold that decides is the one that is written")
		assert.Same(t, pt, pointFor(pt.p))
	}
	assert.Same(t, gridPoint(gridSize-1), pointFor(0))
	assert.Equal(t, uint64(12345), pointAt(12345).threshold, "off the grid")
}

func TestBuckets(t *testing.T) {
	random := newRandom(1)
	check := func(r uint64) {
		b := bucketOf(r)
		assert.Less(t, r, bucketEnd(b))
		if b > 0 {
			assert.GreaterOrEqual(t, r, bucketEnd(b-1))
		}
	}
	for range 10_000 {
		check(random.Uint64() & (whole - 1))
		check(whole - 1 - random.Uint64N(1<<random.IntN(56)))
	}
	check(0)
	check(whole - 1)
	for b := range bucketCount - 1 {
		assert.Equal(t, b+1, bucketOf(bucketEnd(b)))
		assert.Equal(t, b, bucketOf(bucketEnd(b)-1))
	}
}

func FuzzThreshold(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(0xfd70a000000000))
	f.Add(whole - 1)
	f.Fuzz(func(t *testing.T, value uint64) {
		value &= whole - 1
		text := FormatThreshold(value)
		back, ok := ParseThreshold(text)
		if !ok || back != value {
			t.Fatalf("%x became %q became %x", value, text, back)
		}
		if r, ok := parseRandomness(encodeRandomness(value)); !ok || r != value {
			t.Fatalf("%x as rv became %x", value, r)
		}
		if p := thresholdFor(probability(value), hexDigits); float64(max(p, value)-min(p, value)) > 16 {
			t.Fatalf("the threshold of the probability of %x is %x", value, p)
		}
	})
}

func FuzzTraceState(f *testing.F) {
	f.Add("ot=th:c;rv:1234567890abcd;p:8,vendor=x", uint64(0x80000000000000))
	f.Add("a=b,ot=;:;th;th:;rv:1", uint64(0))
	f.Fuzz(func(t *testing.T, header string, threshold uint64) {
		ts, err := trace.ParseTraceState(header)
		if err != nil {
			return
		}
		threshold &= whole - 1
		before := readState(ts)
		for name, got := range map[string]trace.TraceState{"set": withThreshold(ts, threshold),
			"erased": withoutThreshold(ts)} {
			again, err := trace.ParseTraceState(got.String())
			if err != nil {
				t.Fatalf("%s: %q is no tracestate: %v", name, got, err)
			}
			after := readState(again)
			if after.hasThreshold != (name == "set") || name == "set" && after.threshold != threshold {
				t.Fatalf("%s: %q became %q", name, header, got)
			}
			if before.hasRandomness && after.randomness != before.randomness {
				t.Fatalf("%s: rv is lost: %q became %q", name, header, got)
			}
			others := 0
			ts.Walk(func(key, value string) bool {
				if key != memberKey && again.Get(key) == value {
					others++
				}
				return true
			})
			if kept := ts.Len() - 1; others < min(kept, 31) && ts.Get(memberKey) != "" {
				t.Fatalf("%s: other members are lost: %q became %q", name, header, got)
			}
		}
	})
}
