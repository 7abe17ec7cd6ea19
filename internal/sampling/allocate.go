package sampling

// allocate divides target kept traces per second among classes with these rates, in arrivals per
// second. It writes the probability of each class into p, which is as long as rates.
//
// Class i keeps min(rates[i], a + b·rates[i]) per second. The share fairness of the target is
// divided evenly, by water-filling (a), which keeps rare operations whole. The rest is divided by
// volume (b), which limits every adjusted count to Σrates/((1−fairness)·target). So an estimated
// total has at most 1/(1−fairness) times the variance of uniform sampling. The compromise is "power
// allocation" in survey sampling (M. Bankier, The American Statistician 42, 1988).
func allocate(rates, p []float64, target, fairness float64) {
	total := 0.0
	for _, rate := range rates {
		total += rate
	}
	if total <= target {
		for i := range p {
			p[i] = 1
		}
		return
	}
	b := (1 - fairness) * target / total
	a := waterLevel(rates, target, b)
	for i, rate := range rates {
		p[i] = 1
		if rate > 0 {
			p[i] = min(1, a/rate+b)
		}
	}
}

// waterLevel solves Σ min(rate, a + b·rate) = target for a. The sum is concave and piecewise linear
// in a. So the solution rises in a few rounds, if each round caps the classes that the round before
// found to be below a. Rounding may make it fall slightly and remove a cap again: that is the end
// too.
func waterLevel(rates []float64, target, b float64) (a float64) {
	capped := -1
	for {
		wholeRates, sharedRates, n := 0.0, 0.0, 0
		for _, rate := range rates {
			if capped >= 0 && rate*(1-b) <= a {
				wholeRates += rate
				n++
			} else {
				sharedRates += rate
			}
		}
		if n <= capped || n == len(rates) {
			return a
		}
		capped = n
		a = (target - wholeRates - b*sharedRates) / float64(len(rates)-n)
	}
}
