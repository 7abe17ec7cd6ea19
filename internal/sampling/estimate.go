package sampling

import (
	"math"
	"time"
)

const (
	// memory is the time constant of the average. A rise is learned within about ten seconds.
	memory = 10 * time.Second
	// The busiest second is remembered for peakSlots times peakSlot: 15 to 20 minutes, for bursts
	// every ten minutes.
	peakSlot  = 5 * time.Minute
	peakSlots = 4
	// windowTicks is the number of ticks in the last second.
	windowTicks = 5
)

// estimate is what is known about the arrivals of a class: their average, the busiest second of
// some minutes, and the last second.
type estimate struct {
	past    count // fading exponentially
	busiest peaks // arrivals per second
	window  [windowTicks]count
	next    int // the oldest of window
}

// count is a number of arrivals in a number of seconds.
type count struct{ arrivals, seconds float64 }

// observe adds what has arrived since the last observation, which is a tick ago or longer.
func (e *estimate) observe(now time.Duration, arrivals, seconds float64) {
	fade := math.Exp(-seconds / memory.Seconds())
	e.past.arrivals = e.past.arrivals*fade + arrivals
	e.past.seconds = e.past.seconds*fade + memory.Seconds()*(1-fade)
	if seconds > 1 {
		e.window, seconds = [windowTicks]count{}, 1
	}
	e.window[e.next] = count{arrivals, seconds}
	e.next = (e.next + 1) % windowTicks
	second := e.lastSecond()
	e.busiest.add(now, second.arrivals/max(second.seconds, 1))
}

func (e *estimate) lastSecond() (sum count) {
	for _, c := range e.window {
		sum.arrivals += c.arrivals
		sum.seconds += c.seconds
	}
	return sum
}

// average is in arrivals per second. Less than a second counts as a whole one.
func (e *estimate) average() float64 { return e.past.arrivals / max(e.past.seconds, 1) }

// usual is the rate to plan with: the average or, if that is more, the steady rate that costs as
// much as the busiest second may cost, which is burst seconds of the target.
func (e *estimate) usual(burst float64) float64 {
	return max(e.average(), e.busiest.max()/burst)
}

// recent is the rate of the last second, in arrivals per second. The average smooths it, as if two
// arrivals had been seen at that rate, so that the chance of a rare operation does not depend on
// the second in which it arrives.
func (e *estimate) recent() float64 {
	const lean = 2
	average := e.average()
	if average == 0 {
		return 0
	}
	second := e.lastSecond()
	return (second.arrivals + lean) / (second.seconds + lean/average)
}

// peaks remembers a maximum for peakSlots-1 to peakSlots times peakSlot.
type peaks struct {
	slots [peakSlots]float64
	slot  int64
}

func (p *peaks) add(now time.Duration, value float64) {
	for slot := int64(now / peakSlot); p.slot < slot; {
		if slot-p.slot > peakSlots {
			p.slot = slot - peakSlots
		}
		p.slot++
		p.slots[p.slot%peakSlots] = 0
	}
	at := &p.slots[p.slot%peakSlots]
	*at = max(*at, value)
}

func (p *peaks) max() (most float64) {
	for _, value := range p.slots {
		most = max(most, value)
	}
	return most
}
