package web

// Route is a row of the route table, for tests that iterate over all of it.
type Route struct {
	Path            string
	Show, Act, Live bool
}

// Routes returns the table of pages and actions.
func Routes() []Route {
	var out []Route
	for _, one := range table() {
		out = append(out, Route{one.path, one.show != nil, one.act != nil || one.form != nil, one.live})
	}
	return out
}
