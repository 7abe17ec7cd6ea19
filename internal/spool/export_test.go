package spool

// Usage returns what the store holds in bytes, and how many files have been set aside since Open.
func (s *Store) Usage() (bytes, setAside int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.corrupt
}
