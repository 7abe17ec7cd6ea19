package redact

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// verdict is what to do with the value of a key.
type verdict uint8

const (
	unknown verdict = iota
	scan            // search its text
	mask            // mask all of it
	skip            // leave it alone
	inQuery         // mask all of it in the query of a URL, search its text elsewhere
)

const (
	// maxKey is how many bytes of a key are read, from its end, where terms are matched.
	maxKey = 64
	// maxTerm is the length of the longest term, in letters and digits.
	maxTerm = 48
	// cacheSize limits the number of cached verdicts. A program has some hundreds of keys; once the
	// cache is full, others are decided each time.
	cacheSize = 1024
)

// keys decides by key. It is safe for concurrent use.
type keys struct {
	terms map[string]verdict
	tails [32 * 32]uint32 // the last three letters of terms and forms, see mayMatch
	cache atomic.Pointer[map[string]verdict]
	mu    sync.Mutex
}

func newKeys(sensitive, allowed []string) *keys {
	k := &keys{terms: map[string]verdict{}}
	for v, terms := range map[verdict][]string{mask: sensitiveTerms, inQuery: queryTerms, scan: scannedTerms,
		skip: skippedTerms} {
		for _, term := range terms {
			k.terms[term] = v
		}
	}
	for _, given := range []struct {
		keys []string
		verdict
	}{{sensitive, mask}, {allowed, skip}} {
		for _, key := range given.keys {
			k.terms[allWords(key)] = given.verdict
		}
	}
	for term := range k.terms {
		k.learnTail(term)
	}
	for form := range forms {
		k.learnTail(form)
	}
	k.cache.Store(&map[string]verdict{})
	return k
}

// CheckKey returns an error for a key that cannot be used.
func CheckKey(key string) error {
	switch term := allWords(key); {
	case term == "":
		return fmt.Errorf("key %q has no letter and no digit", key)
	case len(term) < 2:
		return fmt.Errorf("key %q is too short to tell it from others", key)
	case len(key) > maxKey || len(term) > maxTerm:
		return fmt.Errorf("key %q is longer than %d letters and digits", key, maxTerm)
	}
	return nil
}

// of returns the verdict on a key of an attribute.
func (k *keys) of(key string) verdict {
	if !k.mayMatch(key) {
		return scan
	}
	if v, ok := (*k.cache.Load())[key]; ok {
		return v
	}
	return k.learn(key)
}

func (k *keys) learn(key string) verdict {
	v := k.decide(key)
	if v == inQuery {
		v = scan
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := *k.cache.Load(); len(known) < cacheSize && len(key) <= 2*maxKey {
		next := maps.Clone(known)
		next[strings.Clone(key)] = v
		k.cache.Store(&next)
	}
	return v
}

// mayMatch rules most keys out quickly: no term ends in their last three letters.
func (k *keys) mayMatch(key string) bool {
	n := len(key)
	if n < 3 {
		return n == 2
	}
	if kinds[key[n-1]]&(lower|upper) == 0 || kinds[key[n-2]] == other || kinds[key[n-3]] == other {
		return true
	}
	return k.tails[lastTwo(key)]>>(key[n-3]&31)&1 != 0
}

// mayEnd rules out most keys that end no term, not even behind the key of the object before them.
func (k *keys) mayEnd(key string) bool { return len(key) < 3 || k.mayMatch(key) }

func (k *keys) learnTail(term string) {
	if len(term) == 2 {
		k.tails[lastTwo(term)] = ^uint32(0)
		return
	}
	k.tails[lastTwo(term)] |= 1 << (term[len(term)-3] & 31)
}

// decide matches the end of a key with the terms, the longest first.
func (k *keys) decide(key string) verdict {
	if !k.mayMatch(key) {
		return scan
	}
	var w words
	w.split(key)
	for w.n > 0 {
		if v := k.longestTerm(&w); v != unknown {
			return v
		}
		last := w.from(w.n - 1)
		if hasSensitiveEnding(last) {
			return mask
		}
		if !forms[string(last)] && !isDigit(last[0]) {
			break
		}
		w.dropLast()
	}
	return scan
}

// longestTerm returns the verdict of the longest term that the words end in, or unknown.
func (k *keys) longestTerm(w *words) verdict {
	for i := range w.n {
		if term := w.from(i); len(term) <= maxTerm {
			if v := k.terms[string(term)]; v != unknown {
				return v
			}
		}
	}
	return unknown
}

func hasSensitiveEnding(word []byte) bool {
	for _, ending := range endings {
		if len(word) > len(ending) && string(word[len(word)-len(ending):]) == ending {
			return true
		}
	}
	return false
}

// words are the last words of a key, in lower case and without separators.
type words struct {
	text   [maxKey]byte
	end    uint8
	starts [maxKey]uint8
	n      int
}

func (w *words) from(i int) []byte { return w.text[w.starts[i]:w.end] }

func (w *words) dropLast() {
	w.n--
	w.end = w.starts[w.n]
}

func allWords(key string) string {
	var w words
	w.split(key)
	return string(w.text[:w.end])
}

// lastTwo is a number for the last two letters of a key, in any case.
func lastTwo(key string) int {
	n := len(key)
	return int(key[n-2]&31)<<5 | int(key[n-1]&31)
}

// split finds the words of a key. Bytes outside ASCII count as small letters.
func (w *words) split(key string) {
	if len(key) > maxKey {
		key = key[len(key)-maxKey:]
	}
	before := other
	for i := range len(key) {
		kind := kinds[key[i]]
		switch {
		case kind == other:
			before = kind
			continue
		case kind != before && !(kind == lower && before == upper),
			// The last capital of "APIKey" begins the next word.
			kind == upper && i+1 < len(key) && kinds[key[i+1]] == lower:
			w.starts[w.n] = w.end
			w.n++
		}
		c := key[i]
		if kind == upper {
			c |= 0x20
		}
		w.text[w.end] = c
		w.end++
		before = kind
	}
}

// kind is what a byte is in a key.
type kind uint8

const (
	other kind = 0
	lower kind = 1
	upper kind = 2
	digit kind = 4
)

var kinds = func() (table [256]kind) {
	for c := range table {
		switch {
		case c >= 'a' && c <= 'z' || c >= 0x80:
			table[c] = lower
		case c >= 'A' && c <= 'Z':
			table[c] = upper
		case c >= '0' && c <= '9':
			table[c] = digit
		}
	}
	return table
}()

func isDigit(c byte) bool { return kinds[c] == digit }

func isAlnum(c byte) bool { return kinds[c] != other && c < 0x80 }
