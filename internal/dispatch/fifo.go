package dispatch

// fifo is a queue in a ring buffer. The ring doubles when it is full. A ring of more
// than 64 elements is freed when the queue becomes empty.
type fifo[T any] struct {
	ring       []T
	head, size int
}

func (f *fifo[T]) len() int { return f.size }

func (f *fifo[T]) push(v T) {
	if f.size == len(f.ring) {
		grown := make([]T, max(4, 2*f.size))
		n := copy(grown, f.ring[f.head:])
		copy(grown[n:], f.ring[:f.head])
		f.ring, f.head = grown, 0
	}
	f.ring[(f.head+f.size)%len(f.ring)] = v
	f.size++
}

// first returns the element that pop would take, nil if there is none.
func (f *fifo[T]) first() *T {
	if f.size == 0 {
		return nil
	}
	return &f.ring[f.head]
}

// pop panics on an empty queue.
func (f *fifo[T]) pop() T {
	if f.size == 0 {
		panic("dispatch: pop of an empty queue")
	}
	var zero T
	v := f.ring[f.head]
	f.ring[f.head] = zero
	f.head = (f.head + 1) % len(f.ring)
	f.size--
	if f.size == 0 && len(f.ring) > 64 {
		f.ring, f.head = nil, 0
	}
	return v
}
