package store

import "slices"

// flight is a transaction whose commit is on its way while the writer goes on with
// the next. Only the node's lanes on PostgreSQL have them, and only transactions that
// made no statement before: rows that were gathered, which nothing else depends on.
type flight struct {
	batch []*op
	t     *tx
	end   *ending
	err   error
}

// freeLane returns a lane that is not busy. It waits for one if need be.
func (s *Store) freeLane() *pg {
	for {
		for _, lane := range s.cluster.lanes {
			if !lane.busy {
				return lane
			}
		}
		s.land(<-s.flights)
	}
}

// launch sends a batch on its way and reports whether it did; what needs more than
// one exchange is run by the writer itself.
func (s *Store) launch(batch []*op) bool {
	if s.cluster == nil || s.cluster.careful || s.down.Load() != nil {
		return false
	}
	t, rest, err := s.prepare(batch)
	if err != nil {
		s.conclude(batch, err)
		for _, o := range batch {
			o.end()
		}
		return true
	}
	lane, _ := t.e.(*pg)
	f := flight{batch: slices.Clone(batch), t: t}
	if t.writes == 0 || lane.begun || t.config || t.news != nil || len(t.holds) > 0 {
		s.finish(f, rest)
		return true
	}
	s.accepted = t.accepted // the next batch must not use these times again
	f.end = lane.ending(t)
	lane.busy, lane.batch = true, f.batch
	go func() {
		f.err = f.end.send()
		s.flights <- f
	}()
	return true
}

// finish is the end of a batch that the writer waits for.
func (s *Store) finish(f flight, rest []*op) {
	if f.t.writes == 0 {
		f.t.e.rollback()
		f.t.committed()
	} else if err := s.ended(f.t, f.batch, f.t.e.commit(f.t)); err != nil {
		s.conclude(f.batch, err)
		rest = nil // it was part of the batch
	}
	s.run(rest)
	for _, o := range f.batch {
		o.end()
	}
}

// land takes the answer to a commit that was on its way.
func (s *Store) land(f flight) {
	lane := f.end.p
	lane.busy, lane.batch = false, nil
	if f.err == nil {
		f.end.sent()
	}
	if err := s.ended(f.t, f.batch, f.err); err != nil {
		s.conclude(f.batch, err)
	}
	for _, o := range f.batch {
		o.end()
	}
}

// landAll waits for everything that is on its way.
func (s *Store) landAll() {
	if s.cluster == nil {
		return
	}
	for _, lane := range s.cluster.lanes {
		for lane.busy {
			s.land(<-s.flights)
		}
	}
}
