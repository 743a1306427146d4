package dispatch

// TakeAll lets a tenant take all of a budget that its bound allows, however little is
// left for others, as in a plain pool. Controls use it.
func (d *Dispatcher) TakeAll() {
	for b := range d.budgets {
		d.budgets[b].perFree = 1 << 20
	}
}
