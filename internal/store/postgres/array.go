package postgres

import (
	"encoding/binary"
	"fmt"
)

// The OIDs of the element types in PostgreSQL's catalog.
const (
	oidBytea = 17
	oidInt8  = 20
	oidText  = 25
)

var elementOIDs = map[rune]uint32{'b': oidBytea, 'i': oidInt8, 't': oidText}

// column collects the values of one column as an array in PostgreSQL's binary format
// (array_send in its sources): a header of five numbers, then each value preceded by its
// length.
type column struct {
	oid   uint32
	nulls uint32
	n     uint32
	buf   []byte
}

const arrayHead = 20

func (c *column) add(v any) error {
	if c.n == 0 {
		c.buf = append(c.buf[:0], make([]byte, arrayHead)...)
	}
	c.n++
	switch v := v.(type) {
	case int64:
		c.buf = binary.BigEndian.AppendUint32(c.buf, 8)
		c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
	case string:
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(v)))
		c.buf = append(c.buf, v...)
	case []byte:
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(v)))
		c.buf = append(c.buf, v...)
	case nil:
		c.nulls = 1
		c.buf = binary.BigEndian.AppendUint32(c.buf, 0xffffffff)
	default:
		return fmt.Errorf("value of type %T in a column", v)
	}
	return nil
}

// wire returns the array, which must not be empty. The bytes are valid until the next add.
func (c *column) wire() []byte {
	for i, v := range []uint32{1, c.nulls, c.oid, c.n, 1} {
		binary.BigEndian.PutUint32(c.buf[4*i:], v)
	}
	return c.buf
}

// keptColumn is the largest buffer, in bytes, that a column keeps for reuse.
const keptColumn = 1 << 20

func (c *column) reset() {
	c.n, c.nulls = 0, 0
	if cap(c.buf) > keptColumn {
		c.buf = nil
	}
}

// columns stores rows column by column.
type columns struct {
	cols []column
	args [][]byte // arguments of the statement that inserts them
}

func newColumns(kinds string) *columns {
	c := &columns{cols: make([]column, len(kinds)), args: make([][]byte, len(kinds))}
	for i, kind := range kinds {
		c.cols[i].oid = elementOIDs[kind]
	}
	return c
}

func (c *columns) rows() int { return int(c.cols[0].n) }

func (c *columns) add(values ...any) error {
	if len(values) != len(c.cols) {
		return fmt.Errorf("%d values for %d columns", len(values), len(c.cols))
	}
	for i, v := range values {
		if err := c.cols[i].add(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *columns) wire() [][]byte {
	for i := range c.cols {
		c.args[i] = c.cols[i].wire()
	}
	return c.args
}

func (c *columns) reset() {
	for i := range c.cols {
		c.cols[i].reset()
		c.args[i] = nil
	}
}

// arrayOIDs are the OIDs of the array types of the elements.
var arrayOIDs = map[rune]uint32{'b': 1001, 'i': 1016, 't': 1009}

func typesOf(kinds string) []uint32 {
	oids := make([]uint32, 0, len(kinds))
	for _, kind := range kinds {
		oids = append(oids, arrayOIDs[kind])
	}
	return oids
}
