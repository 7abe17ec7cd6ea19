package w3c

import (
	"maps"
	"slices"
	"strings"
)

// Metadata carries context in gRPC metadata. Keys are in lower case. A nil Metadata ignores Set.
type Metadata map[string][]string

// Get returns the first value of key, which may be in any case, or "".
func (c Metadata) Get(key string) string {
	if values := c.Values(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values of key: baggage may be spread over several (W3C Baggage §3.3).
func (c Metadata) Values(key string) []string {
	return c[strings.ToLower(key)]
}

// Set replaces the values of key. A nil Metadata ignores it.
func (c Metadata) Set(key, value string) {
	if c != nil {
		c[strings.ToLower(key)] = []string{value}
	}
}

// Delete removes the values of key.
func (c Metadata) Delete(key string) { delete(c, strings.ToLower(key)) }

// Keys returns the keys in no particular order.
func (c Metadata) Keys() []string {
	return slices.Collect(maps.Keys(c))
}

// Message carries context in the headers of a message, whose names match in any case. A nil Message
// ignores Set.
type Message map[string]string

// Get returns the value of the header named key, in any case, or "". If there are several
// spellings, the exact one wins, then the first in byte order, so that the same message always
// gives the same trace.
func (c Message) Get(key string) string {
	if value, ok := c[key]; ok {
		return value
	}
	if spellings := c.spellings(key); len(spellings) > 0 {
		return c[slices.Min(spellings)]
	}
	return ""
}

// Set replaces the header named key, in any case. A nil Message ignores it.
func (c Message) Set(key, value string) {
	if c == nil {
		return
	}
	c.Delete(key)
	c[key] = value
}

// Delete removes the header named key, in whatever case it was written.
func (c Message) Delete(key string) {
	for _, spelling := range c.spellings(key) {
		delete(c, spelling)
	}
}

// Keys returns the header names, as they are written, in no particular order.
func (c Message) Keys() []string {
	return slices.Collect(maps.Keys(c))
}

// spellings returns the header names that equal key in any case.
func (c Message) spellings(key string) []string {
	var found []string
	for name := range c {
		if strings.EqualFold(name, key) {
			found = append(found, name)
		}
	}
	return found
}

// Environ holds environment variables by name. Names that propagation would not write are not read
// either.
type Environ map[string]string

// ReadEnviron takes the variables for propagation from a list such as [os.Environ]. If a name
// occurs more than once, the first value counts.
func ReadEnviron(environ []string) Environ {
	vars := Environ{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if _, seen := vars[name]; !seen && name == variableName(name) {
			vars[name] = value
		}
	}
	return vars
}

func (c Environ) Get(key string) string { return c[variableName(key)] }
func (c Environ) Set(key, value string) { c[variableName(key)] = value }
func (c Environ) Keys() []string        { return slices.Collect(maps.Keys(c)) }

// variableName is the environment variable of a propagation key: upper-case letters, digits and
// underscores, not starting with a digit (specification, "Environment Variable Names").
func variableName(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}
