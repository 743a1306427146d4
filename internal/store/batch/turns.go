package batch

import "slices"

// turns holds the operations that wait to be run, one line for each key. Keys are served
// round-robin, so a caller that submits many operations delays itself and not others. Only
// the writer's goroutine uses it.
type turns[T Tx] struct {
	lines map[any]*line[T]
	round []*line[T] // lines with operations, the next one first
	size  int
}

// line holds the operations of one key, in order of arrival.
type line[T Tx] struct {
	key  any
	ops  []*Op[T]
	back []*Op[T] // put back: these come first, in reverse order
}

func (q *turns[T]) line(key any) *line[T] {
	l := q.lines[key]
	if l == nil {
		if q.lines == nil {
			q.lines = map[any]*line[T]{}
		}
		l = &line[T]{key: key}
		q.lines[key] = l
		q.round = append(q.round, l)
	}
	return l
}

// add appends an operation to its line.
func (q *turns[T]) add(o *Op[T]) {
	l := q.line(o.Key)
	l.ops = append(l.ops, o)
	q.size++
}

// putBack returns operations that were taken but not run to the front of their lines. It
// also moves these lines to the front of the round. Otherwise a line that had reached its
// turn would wait for all others again after each batch.
func (q *turns[T]) putBack(ops []*Op[T]) {
	var first []*line[T]
	seen := make(map[*line[T]]bool, len(q.lines))
	for _, o := range ops {
		if l := q.line(o.Key); !seen[l] {
			seen[l] = true
			first = append(first, l)
		}
	}
	for _, l := range q.round {
		if !seen[l] {
			first = append(first, l)
		}
	}
	q.round = first
	for _, o := range slices.Backward(ops) {
		l := q.lines[o.Key]
		l.back = append(l.back, o)
		q.size++
	}
}

// next removes and returns the next operation, nil if there is none.
func (q *turns[T]) next() *Op[T] {
	if len(q.round) == 0 {
		return nil
	}
	l := q.round[0]
	o := l.take()
	q.size--
	switch {
	case len(l.ops)+len(l.back) == 0:
		delete(q.lines, l.key)
		q.round = q.round[1:]
	case len(q.round) > 1:
		q.round = append(q.round[1:], l)
	}
	if len(q.round) == 0 {
		q.round = nil
	}
	return o
}

// take removes and returns the first operation of a nonempty line.
func (l *line[T]) take() *Op[T] {
	if n := len(l.back); n > 0 {
		o := l.back[n-1]
		l.back[n-1] = nil
		l.back = l.back[:n-1]
		return o
	}
	o := l.ops[0]
	l.ops[0] = nil
	l.ops = l.ops[1:]
	return o
}

// drain removes and returns all operations.
func (q *turns[T]) drain() (all []*Op[T]) {
	for o := q.next(); o != nil; o = q.next() {
		all = append(all, o)
	}
	return all
}
