package delivery_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/delivery"
	"github.com/fleetotel/telemetry/internal/signal"
)

// misplaced are the answers that say nothing about what was sent.
func misplaced() map[string]func(string, *http.Request) (*http.Response, error) {
	all := map[string]func(string, *http.Request) (*http.Response, error){
		"redirect": replying(307, "Location", "http://elsewhere/"),
		"moved":    replying(301, "Location", "http://elsewhere/"),
		"web page": func(_ string, r *http.Request) (*http.Response, error) {
			return response(r, 200, "text/html", "<html>"), nil
		},
		"unknown authority": func(string, *http.Request) (*http.Response, error) {
			return nil,
				x509.UnknownAuthorityError{}
		},
		"proxy": func(string, *http.Request) (*http.Response, error) {
			return nil, &delivery.ProxyError{HTTPStatus: http.StatusForbidden, Proxy: "proxy:3128"}
		},
	}
	for _, code := range []int{401, 403, 404, 405, 407} {
		all[fmt.Sprint(code)] = replying(code)
	}
	return all
}

// What is refused for what the endpoint or the credential is waits on disk, and goes out when live
// requests find that it works again.
func TestWhatIsRefusedForThePlaceIsSpooled(t *testing.T) {
	for name, answer := range misplaced() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(answer)
				d.start()
				for i := range 60 {
					out := d.send(t.Context(), "a", 2)
					require.EqualValues(t, 2, out.Spooled, i)
					require.Error(t, out.Err)
					time.Sleep(time.Minute)
				}
				tries, _ := d.seen()
				require.Less(t, len(tries), 60+25, "live requests knock, and the replayer rests")
				d.set(fine)
				require.EqualValues(t, 1, d.send(t.Context(), "b", 1).Exported)
				time.Sleep(5 * time.Second)
				require.EqualValues(t, 120, d.close().Exported, "the first that gets through wakes the replayer")
			})
		})
	}
}

// Without room on the disk the refusal is what it is without a spool.
func TestRefusalThatCannotBeSpooledFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.full = syscall.ENOSPC
		d.set(replying(http.StatusUnauthorized))
		begin := time.Now()
		require.EqualValues(t, 2, d.send(t.Context(), "a", 2).Failed)
		require.Equal(t, begin, time.Now())
	})
}

// A firewall may refuse one request for its content with a 403: that one must not stop the others.
func TestOneForbiddenSegmentDoesNotStopTheOthers(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live requests %t", live), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t)
				d.set(gone)
				for _, name := range []string{"poison", "a", "b", "c"} {
					d.send(t.Context(), name, 1)
				}
				d.set(func(names string, r *http.Request) (*http.Response, error) {
					if names == "poison" {
						return replying(403)(names, r)
					}
					return ok(r)
				})
				d.start()
				for range 60 {
					time.Sleep(time.Second)
					if live {
						require.EqualValues(t, 1, d.send(t.Context(), "live", 1).Exported)
					}
				}
				tries, took := d.seen()
				took = slices.DeleteFunc(took, func(s string) bool { return s == "live" })
				require.Equal(t, []string{"a", "b", "c"}, took)
				refused := slices.DeleteFunc(tries, func(s string) bool { return s != "poison" })
				require.Less(t, len(refused), 10)
				require.EqualValues(t, 1, d.close().Held)
			})
		})
	}
}

// An operator hears of a refusal once when it begins and once when it is over, as of an outage.
func TestRefusalsThatAreKeptAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		d := newDepotWith(t, delivery.Config{
			OnDown: func(_ signal.Signal, cause error) { told = append(told, "down: "+cause.Error()) },
			OnUp: func(_ signal.Signal, after time.Duration, refusal error) {
				told = append(told, fmt.Sprintf("up after %v, %v", after, refusal))
			},
		})
		for _, step := range []struct {
			answer  func(string, *http.Request) (*http.Response, error)
			spooled int64
		}{
			{replying(401), 1}, {replying(401), 1}, {replying(403), 1}, {fine, 0},
			{replying(401), 1}, {replying(503), 1}, // the outage goes on for another reason
		} {
			d.set(step.answer)
			require.Equal(t, step.spooled, d.send(t.Context(), "a", 1).Spooled)
			time.Sleep(time.Second)
		}
		require.Equal(t, []string{"down: 401 Unauthorized", "up after 3s, <nil>", "down: 401 Unauthorized",
			"down: 503 Service Unavailable"}, told)
		d.close()
	})
}

// The answer to a spooled request may come after the one that lifts the bar, and still say no: it
// was given before.
func TestRefusalThatComesTooLateDoesNotLetTheReplayRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t)
		d.set(replying(401))
		require.EqualValues(t, 1, d.send(t.Context(), "a", 1).Spooled)
		d.set(func(names string, r *http.Request) (*http.Response, error) {
			if names == "a" {
				d.set(fine)
				time.Sleep(time.Second)
				return response(r, 401, "", ""), nil
			}
			return ok(r)
		})
		d.start()
		time.Sleep(time.Second / 2)
		require.EqualValues(t, 1, d.send(t.Context(), "b", 1).Exported)
		time.Sleep(time.Second)
		_, took := d.seen()
		require.Equal(t, []string{"b", "a"}, took)
		d.close()
	})
}
