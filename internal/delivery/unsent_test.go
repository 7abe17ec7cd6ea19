package delivery_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
	"github.com/fleetotel/telemetry/internal/spool"
)

// shelf is an Unsent and what its sender has been given.
type shelf struct {
	*delivery.Unsent
	answer  func(r spool.Request, out *delivery.Outcome)
	sent    []int64 // items of each request
	settled []delivery.Outcome
}

func newShelf(maxBytes int) *shelf {
	s := &shelf{answer: func(_ spool.Request, out *delivery.Outcome) { out.Exported = out.Items }}
	s.Unsent = delivery.NewUnsent(func(ctx context.Context, r spool.Request) error {
		out := delivery.OutcomeFrom(ctx)
		out.Filled = true
		if r.Items == 0 {
			return nil // a question, and the endpoint says yes
		}
		s.sent = append(s.sent, r.Items)
		s.answer(r, out)
		return nil
	}, maxBytes)
	return s
}

func (s *shelf) send(t *testing.T) error {
	return s.Send(t.Context(), func(out *delivery.Outcome) { s.settled = append(s.settled, *out) })
}

// held is a request of n data points that takes that many bytes.
func held(n int64, bytes int) *spool.Request {
	return &spool.Request{Signal: signal.Metrics, Items: n, Gzip: make([]byte, bytes)}
}

func late(_ spool.Request, out *delivery.Outcome) {
	out.Failed, out.Late, out.Err = out.Items, true, errors.New("busy")
}

func TestUnsentIsSentInOrder(t *testing.T) {
	s := newShelf(100)
	for n := range int64(3) {
		require.Zero(t, s.Add(held(n+1, 10)))
	}
	require.EqualValues(t, 6, s.Items())
	answer := s.answer
	s.answer = late
	require.EqualError(t, s.send(t), "busy")
	require.Equal(t, []int64{1}, s.sent, "no time for the others")
	require.EqualValues(t, 6, s.Items())
	require.Empty(t, s.settled)
	s.answer = answer
	require.NoError(t, s.send(t))
	require.Equal(t, []int64{1, 1, 2, 3}, s.sent)
	require.Zero(t, s.Items())
	require.Len(t, s.settled, 3)
}

// At the bound and one past it: the oldest make room.
func TestBoundOfUnsent(t *testing.T) {
	s := newShelf(100)
	for n := range int64(10) {
		require.Zero(t, s.Add(held(n+1, 10)))
	}
	require.EqualValues(t, 1, s.Add(held(100, 1)))
	require.EqualValues(t, 2+3, s.Add(held(100, 20)))
	waiting := s.Items()
	require.EqualValues(t, 4+5+6+7+8+9+10+100+100, waiting)
	require.EqualValues(t, 7, s.Add(held(7, 101)), "too large by itself, it displaces nothing")
	require.Equal(t, waiting, s.Items())

	require.Zero(t, s.Add(held(1, 1)))
	require.Equal(t, waiting+1, s.Close())
	require.EqualValues(t, 1, s.Add(held(1, 1)), "closed")
	require.Zero(t, s.Items())
}

// A request that runs out of time again and again, although the endpoint takes what it is asked to
// take, does not keep the others for ever.
func TestUnsentThatAlwaysFailsIsGivenUp(t *testing.T) {
	s := newShelf(100)
	s.Add(held(1, 1))
	s.Add(held(2, 1))
	s.answer = func(r spool.Request, out *delivery.Outcome) {
		if out.Exported = out.Items; r.Items == 1 {
			out.Exported = 0
			late(r, out)
		}
	}
	for range 10 {
		require.Error(t, s.send(t))
	}
	require.EqualValues(t, 3, s.Items())
	require.NoError(t, s.send(t))
	require.Zero(t, s.Items())
	require.Len(t, s.settled, 2)
	require.EqualValues(t, 1, s.settled[0].Failed)
	require.EqualValues(t, 2, s.settled[1].Exported)
}

func TestUnsentThatIsTooLargeIsHalved(t *testing.T) {
	points := make([]*metricspb.NumberDataPoint, 4)
	for i := range points {
		points[i] = &metricspb.NumberDataPoint{Value: &metricspb.NumberDataPoint_AsInt{AsInt: int64(i)}}
	}
	body, err := proto.Marshal(&colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{{Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: points}}}}}},
	}}})
	require.NoError(t, err)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, err = zw.Write(body)
	require.NoError(t, errors.Join(err, zw.Close()))
	s := newShelf(1 << 20)
	s.Add(&spool.Request{Signal: signal.Metrics, Items: 4, Plain: int64(len(body)), Gzip: packed.Bytes()})
	s.answer = func(r spool.Request, out *delivery.Outcome) {
		if out.TooLarge = r.Items > 2; !out.TooLarge {
			out.Exported = out.Items
		}
	}
	require.NoError(t, s.send(t))
	require.Equal(t, []int64{4, 2, 2}, s.sent)
	require.Len(t, s.settled, 2)

	s.Add(held(4, 1)) // it cannot be read
	require.NoError(t, s.send(t))
	require.True(t, s.settled[2].TooLarge)
	require.Zero(t, s.Items())
}

// Each request that is added while Close runs is counted as dropped exactly once.
func TestCloseCountsWhatIsAddedMeanwhile(t *testing.T) {
	const requests = 200
	for range 3_000 {
		u := delivery.NewUnsent(nil, 1<<20)
		added := make(chan int64)
		go func() {
			var dropped int64
			for range requests {
				dropped += u.Add(held(1, 1))
			}
			added <- dropped
		}()
		for u.Items() < 3 {
			runtime.Gosched()
		}
		dropped := u.Close()
		require.Equal(t, int64(requests), dropped+<-added)
	}
}
