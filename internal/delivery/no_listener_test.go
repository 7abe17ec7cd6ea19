package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/fleetotel/telemetry/internal/batch"
	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
)

func failing(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

var closedPort = failing(fmt.Errorf("dial tcp 127.0.0.1:4318: connect: %w", syscall.ECONNREFUSED))

// Requests that wait end at that moment, and later ones after an attempt that fails in the same
// way.
func TestGiveUpEndsTheWait(t *testing.T) {
	for name, absent := range map[string]error{
		"closed port":   syscall.ECONNREFUSED,
		"no such host":  &net.DNSError{Err: "no such host", Name: "c", IsNotFound: true},
		"no IPv6":       syscall.EADDRNOTAVAIL,
		"within others": &net.OpError{Op: "dial", Err: fmt.Errorf("x: %w", syscall.ECONNREFUSED)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(delivery.Config{})
				s.set(failing(absent))
				var done sync.WaitGroup
				outcomes := make([]delivery.Outcome, 8)
				for i := range outcomes {
					done.Go(func() { outcomes[i] = s.send(t.Context(), "traces") })
				}
				time.Sleep(time.Minute)
				given := time.Now()
				s.endpoint.GiveUp()
				done.Wait()
				require.Equal(t, given, time.Now())
				for _, out := range outcomes {
					require.EqualValues(t, 1, out.Failed)
					require.ErrorIs(t, out.Err, absent)
					require.Regexp(t, `; gave up: nothing has ever listened there$`, out.Err.Error())
				}
				before := len(s.seen())
				require.EqualValues(t, 1, s.send(t.Context(), "traces").Failed, "its gate is shut")
				require.EqualValues(t, 1, s.send(t.Context(), "metrics").Failed, "one attempt")
				require.Equal(t, given, time.Now())
				require.Len(t, s.seen(), before+1)
				s.set(ok)
				require.EqualValues(t, 1, s.send(t.Context(), "logs").Exported, "a server has come up after all")
			})
		})
	}
}

// An endpoint that an attempt has found present is waited for, also after GiveUp.
func TestGiveUpKeepsWaitingForWhoIsThere(t *testing.T) {
	for name, sign := range map[string]func(*http.Request) (*http.Response, error){
		"answer":               ok,
		"refusal":              answering(401),
		"busy":                 answering(503),
		"connection that ends": refuse,
		"silence": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil,
				r.Context().Err()
		},
		"DNS that does not say": failing(&net.DNSError{Err: "i/o timeout", Name: "c", IsTimeout: true}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(delivery.Config{AttemptTimeout: time.Second})
				s.set(sign)
				_ = s.send(expired(t, 5*time.Second), "logs") // another signal's
				s.set(closedPort)
				results := make(chan delivery.Outcome)
				go func() { results <- s.send(t.Context(), "traces") }()
				time.Sleep(time.Second)
				s.endpoint.GiveUp()
				time.Sleep(10 * time.Second)
				s.set(ok)
				require.EqualValues(t, 1, (<-results).Exported)
			})
		})
	}
}

// The answer to a question counts, and one that was cut short does not.
func TestGiveUpKnowsWhatWasAsked(t *testing.T) {
	for _, heard := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(delivery.Config{})
			send := delivery.HTTPSender(&http.Client{Transport: s.rt}, "http://c:4318/v1/traces", nil, true)
			s.set(ok)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !heard {
				s.set(func(*http.Request) (*http.Response, error) { cancel(); return nil, context.Canceled })
			}
			require.Equal(t, heard, delivery.Ask(ctx, signal.Traces, send) == nil)
			s.set(closedPort)
			results := make(chan delivery.Outcome)
			go func() { results <- s.send(t.Context(), "traces") }()
			s.endpoint.GiveUp()
			time.Sleep(10 * time.Second)
			s.set(ok)
			out := <-results
			require.Equal(t, heard, out.Exported == 1, "%v", out.Err)
		})
	}
}

// gRPC keeps the words of an error only, and a server may say the same words about another one.
func TestGiveUpReadsTheWordsOfGRPC(t *testing.T) {
	const dialing = `connection error: desc = "transport: Error while dialing: dial tcp `
	for words, absent := range map[string]bool{
		dialing + `127.0.0.1:4317: connect: connection refused"`:           true,
		dialing + `[::1]:4317: connect: cannot assign requested address"`:  true,
		"name resolver error: produced zero addresses":                     true,
		dialing + `10.0.0.1:4317: i/o timeout"`:                            false,
		"upstream connect error, reset reason: connection refused":         false,
		"name resolver error: dns: A record lookup error: server is silly": false,
	} {
		t.Run(words, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				endpoint := delivery.New(delivery.Config{})
				endpoint.GiveUp()
				start := time.Now()
				out, err := callThrough(expired(t, 10*time.Second), endpoint, traceMethod, nil,
					func(context.Context, int) error {
						return madeUp{grpcstatus.Error(codes.Unavailable, words)}
					})
				require.Error(t, err)
				require.EqualValues(t, 10, out.Failed)
				require.Equal(t, absent, time.Since(start) == 0, time.Since(start))
			})
		})
	}
}

// Over real connections: one that was never there, and one that was.
func TestGiveUpOverTheNetwork(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		s := newServer(t, protocol)
		p := newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100})
		p.send(500)
		p.endpoint.GiveUp()
		begin := time.Now()
		stats, err := p.close(time.Minute)
		require.Less(t, time.Since(begin), 30*time.Second)
		require.ErrorContains(t, err, "nothing has ever listened there")
		require.EqualValues(t, 500, stats.Failed)

		s.up()
		p = newPipeline(t, s, delivery.Config{}, batch.Config{MaxExportBatchSize: 100})
		p.send(100)
		require.NoError(t, p.ForceFlush(t.Context()))
		s.down()
		p.send(500)
		p.endpoint.GiveUp()
		back := time.AfterFunc(time.Second, s.up)
		defer back.Stop()
		_, err = p.close(time.Minute)
		require.NoError(t, err)
		arrived, _ := s.arrived()
		require.Equal(t, 600, arrived)
	})
}

// What is on disk stays there, and its replay ends instead of knocking without a rest.
func TestGiveUpLeavesTheSpoolAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(func(string, *http.Request) (*http.Response, error) { return closedPort(nil) })
		require.EqualValues(t, 3, d.send(t.Context(), "a", 3).Spooled)
		d.start()
		time.Sleep(time.Minute)
		d.endpoint.GiveUp()
		synctest.Wait()
		before, _ := d.seen()
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, d.send(t.Context(), "b", 2).Spooled)
		after, _ := d.seen()
		require.Len(t, after, len(before))
		books := d.close()
		require.EqualValues(t, 5, books.Held)
	})
}

// A spool that takes nothing leaves the loss to be named.
func TestGiveUpWithAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.full = errors.New("disk full")
		d.set(func(string, *http.Request) (*http.Response, error) { return closedPort(nil) })
		d.endpoint.GiveUp()
		out := d.send(t.Context(), "a", 3)
		require.EqualValues(t, 3, out.Failed)
		require.ErrorIs(t, out.Err, syscall.ECONNREFUSED)
		d.close()
	})
}
