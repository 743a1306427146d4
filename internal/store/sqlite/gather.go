package sqlite

import "github.com/posthorn/posthorn/internal/store/sqltext"

// gatherSizes are the numbers of rows of one statement, the greatest first. Each is a
// statement that is kept prepared.
var gatherSizes = [...]int{32, 8, 1}

// gathered are rows with the usual values of their table that are inserted together: one
// statement with 32 rows costs half as much as 32 statements. They are inserted before the
// next statement, except a move, and with the commit.
type gathered struct {
	table *sqltext.Table
	texts [len(gatherSizes)]string
	rows  int
	args  []any // of all rows, in order
}

// Insert gathers a row, or inserts one that has other values than most.
func (c *Conn) Insert(into *sqltext.Table, args ...any) error {
	if !into.IsUsual(args) {
		_, err := c.exec(into.One, args)
		return err
	}
	g := c.gatheredFor(into)
	g.args = into.Unusual(g.args, args)
	if g.rows++; g.rows < gatherSizes[0] {
		return nil
	}
	return c.insert(g)
}

func (c *Conn) gatheredFor(table *sqltext.Table) *gathered {
	for _, g := range c.gathered {
		if g.table == table {
			return g
		}
	}
	g := &gathered{table: table}
	for i, n := range gatherSizes {
		g.texts[i] = table.UsualRows(n)
	}
	c.gathered = append(c.gathered, g)
	return g
}

// insert inserts the gathered rows of a table. After an error some of them are missing, and
// the transaction is not usable until it is rolled back to its savepoint.
func (c *Conn) insert(g *gathered) error {
	defer g.forget()
	width := len(g.args) / g.rows
	for from := 0; from < g.rows; {
		i := 0
		for gatherSizes[i] > g.rows-from {
			i++
		}
		to := from + gatherSizes[i]
		if _, err := c.exec(g.texts[i], g.args[from*width:to*width]); err != nil {
			c.broken = true
			return err
		}
		from = to
	}
	return nil
}

// flush inserts the gathered rows.
func (c *Conn) flush() error {
	for _, g := range c.gathered {
		if g.rows == 0 {
			continue
		}
		if err := c.insert(g); err != nil {
			return err
		}
	}
	return nil
}

// forget drops the gathered rows.
func (c *Conn) forget() {
	for _, g := range c.gathered {
		g.forget()
	}
}

func (g *gathered) forget() {
	clear(g.args)
	g.args, g.rows = g.args[:0], 0
}
