package web

// Route is a row of the table, for tests that go through all of it.
type Route struct {
	Path      string
	Show, Act bool
}

// Routes is the table of pages and acts.
func Routes() []Route {
	var out []Route
	for _, one := range table() {
		out = append(out, Route{one.path, one.show != nil, one.act != nil})
	}
	return out
}
