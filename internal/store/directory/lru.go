package directory

import "container/list"

// lru stores values up to a limit on the sum of their weights. Beyond the limit it removes
// the least recently used values. The newest value stays, whatever its weight. An lru is
// not safe for concurrent use.
type lru[K comparable, V any] struct {
	limit, used int64
	order       list.List // of lruItem, most recently used first
	items       map[K]*list.Element
}

type lruItem[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

func newLRU[K comparable, V any](limit int64) *lru[K, V] {
	return &lru[K, V]{limit: limit, items: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(key K) (value V, ok bool) {
	e := c.items[key]
	if e == nil {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

func (c *lru[K, V]) put(key K, value V, weight int64) {
	if e := c.items[key]; e != nil {
		item := e.Value.(*lruItem[K, V])
		c.used += weight - item.weight
		item.value, item.weight = value, weight
		c.order.MoveToFront(e)
	} else {
		c.items[key] = c.order.PushFront(&lruItem[K, V]{key, value, weight})
		c.used += weight
	}
	for c.used > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

func (c *lru[K, V]) drop(key K) {
	if e := c.items[key]; e != nil {
		c.remove(e)
	}
}

func (c *lru[K, V]) remove(e *list.Element) {
	item := c.order.Remove(e).(*lruItem[K, V])
	delete(c.items, item.key)
	c.used -= item.weight
}
