package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// dialTimeout bounds a dial: all addresses of a name together. Over gRPC its own connect
	// timeout is shorter.
	dialTimeout = 10 * time.Second
	// attemptDelay is how long an address is tried alone before the next one is tried beside it:
	// the Connection Attempt Delay of RFC 8305, section 5. [net.Dialer] waits for 2 s at least, and
	// has no time left for the sixth address of a name.
	attemptDelay = 250 * time.Millisecond
	// maxAddresses bounds how many addresses of a name one dial tries. The next dial begins with
	// those that have not been tried.
	maxAddresses = 64
	// failureMemory is how long an address that has worked before, and failed since, is tried after
	// the others: a collector that restarts is down for that long.
	failureMemory = time.Minute
	// maxKnown bounds how many addresses are remembered, because the addresses of a name may
	// change.
	maxKnown = 1024
)

// dialer makes the connections of an endpoint, and knows those that are open. It tries all
// addresses of a name, and last those that are known to fail. It is safe for concurrent use; its
// zero value is ready.
type dialer struct {
	mu    sync.Mutex
	known map[string]addressState // by address and port
	last  *race                   // the latest dial
	conns map[*conn]struct{}      // those that are open
	hangs hangs
}

// addressState is what is known of an address.
type addressState struct {
	worked bool
	failed time.Time // zero if it has worked since
}

func (p addressState) fails(now time.Time) bool {
	return !p.failed.IsZero() && (!p.worked || now.Sub(p.failed) < failureMemory)
}

// Dial connects as an [Endpoint] does.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(dialer).dial(ctx, network, address)
}

// dial connects to the first address of a name that can be connected to.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	r := &race{dialer: d, host: host, network: network, addresses: d.inOrder(addresses(ips, port)), of: len(ips)}
	d.mu.Lock()
	d.last = r
	d.mu.Unlock()
	return r.run(ctx)
}

// addresses joins IP addresses with a port. The families take turns, beginning with the one that
// the resolver puts first (RFC 8305, section 4): a machine may have addresses of a family, but no
// route for it.
func addresses(ips []net.IPAddr, port string) []string {
	var families [2][]string
	first := -1
	for _, ip := range ips {
		family := 0
		if ip.IP.To4() != nil {
			family = 1
		}
		if first < 0 {
			first = family
		}
		families[family] = append(families[family], net.JoinHostPort(ip.String(), port))
	}
	all := make([]string, 0, len(ips))
	for family := first; len(all) < len(ips); family = 1 - family {
		if list := families[family]; len(list) > 0 {
			all = append(all, list[0])
			families[family] = list[1:]
		}
	}
	return all
}

// inOrder puts the addresses that fail behind the others, the one that failed last at the end.
// Otherwise the order is the resolver's, with which collectors behind one name share their load.
func (d *dialer) inOrder(addresses []string) []string {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	failed := func(address string) time.Time {
		if p := d.known[address]; p.fails(now) {
			return p.failed
		}
		return time.Time{}
	}
	slices.SortStableFunc(addresses, func(a, b string) int { return failed(a).Compare(failed(b)) })
	return addresses[:min(len(addresses), maxAddresses)]
}

// learn notes what has become of an address.
func (d *dialer) learn(address string, worked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxKnown {
		d.known = map[string]addressState{}
	}
	p := d.known[address]
	if worked {
		p = addressState{worked: true}
	} else {
		p.failed = time.Now()
	}
	d.known[address] = p
}

// unconnected describes the progress of a dial, or returns "" if there is a connection.
func (d *dialer) unconnected() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil || d.last.connected || len(d.conns) > 0 {
		return ""
	}
	if count := d.last.count(); count != "" {
		return "no connection yet, " + count
	}
	return "no connection yet"
}

// race is a dial of all addresses of a name.
type race struct {
	dialer    *dialer
	host      string
	network   string
	addresses []string
	of        int // how many addresses the name has

	// Under the dialer's lock.
	tried     int
	connected bool
}

// count returns a text about how many addresses were tried, or "" if the name has only one. The
// caller holds the dialer's lock.
func (r *race) count() string {
	if r.of < 2 {
		return ""
	}
	return fmt.Sprintf("%d of %d addresses of %s tried", r.tried, r.of, r.host)
}

// arrival is the end of the attempt to connect to one address.
type arrival struct {
	number int // of the address
	conn   net.Conn
	err    error
}

// run tries the addresses one after the other, without waiting for earlier ones to end, until one
// is connected or ctx ends.
func (r *race) run(ctx context.Context) (net.Conn, error) {
	var (
		arrivals = make(chan arrival)
		over     = make(chan struct{})
		pending  = map[int]bool{}
		failure  error
	)
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	defer close(over)
	step := r.delay(ctx)
	turn := time.NewTicker(step)
	defer turn.Stop()
	next := func() {
		if number := r.next(); number >= 0 && ctx.Err() == nil {
			pending[number] = true
			go r.try(dialing, number, arrivals, over)
		}
	}
	for next(); len(pending) > 0; {
		select {
		case <-turn.C:
			next()
		case a := <-arrivals:
			delete(pending, a.number)
			if a.err == nil {
				r.won(a.number, pending)
				return a.conn, nil
			}
			if !errors.Is(ctx.Err(), context.Canceled) {
				r.dialer.learn(r.addresses[a.number], false)
			}
			failure = moreTelling(failure, a.err)
			turn.Reset(step)
			next()
		}
	}
	if failure == nil { // there was no time, or no address
		failure = &net.OpError{Op: "dial", Net: r.network, Err: cmp.Or(ctx.Err(), errNoAddress)}
	}
	return nil, r.failed(failure)
}

// delay returns how long an address is tried alone. If there are many, it is short enough to try
// all of them within half of the time.
func (r *race) delay(ctx context.Context) time.Duration {
	delay := attemptDelay
	if deadline, ok := ctx.Deadline(); ok {
		delay = min(delay, time.Until(deadline)/2/time.Duration(max(len(r.addresses), 1)))
	}
	return max(delay, time.Millisecond)
}

var errNoAddress = errors.New("the name has no address")

// next returns the number of the next address, or -1.
func (r *race) next() int {
	r.dialer.mu.Lock()
	defer r.dialer.mu.Unlock()
	if r.tried == len(r.addresses) {
		return -1
	}
	r.tried++
	return r.tried - 1
}

func (r *race) try(ctx context.Context, number int, arrivals chan<- arrival, over <-chan struct{}) {
	conn, err := (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, r.network, r.addresses[number])
	select {
	case arrivals <- arrival{number, conn, err}:
	case <-over:
		if err == nil {
			_ = conn.Close()
		}
	}
}

// won notes that an address has won. Those that began earlier and have not arrived count as failed.
func (r *race) won(number int, pending map[int]bool) {
	for other := range pending {
		if other < number {
			r.dialer.learn(r.addresses[other], false)
		}
	}
	r.dialer.mu.Lock()
	defer r.dialer.mu.Unlock()
	r.connected = true
}

// failed returns the error of a race without a winner.
func (r *race) failed(err error) error {
	r.dialer.mu.Lock()
	defer r.dialer.mu.Unlock()
	if count := r.count(); count != "" {
		return &failure{text: err.Error() + " (" + count + ")", cause: err}
	}
	return err
}

// moreTelling returns the error that says more about a name: a closed port says more than a missing
// route, and a silent address may have a server.
func moreTelling(a, b error) error {
	if a == nil || tells(b) > tells(a) {
		return b
	}
	return a
}

// tells ranks errors by how much they say.
func tells(err error) int {
	for _, noRoute := range []error{syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
		syscall.EAFNOSUPPORT} {
		if errors.Is(err, noRoute) {
			return 0
		}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 1
	}
	return 2
}
