package native

import (
	"bytes"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

// taken is what a route accepts. The zero value is a route without parameters and body.
type taken struct {
	query []string // names of parameters
	body  bool
}

// takenBy returns what the routes of the document accept, by pattern of the mux. A
// route without an entry accepts nothing.
func takenBy(doc *huma.OpenAPI) map[string]taken {
	all := map[string]taken{}
	for path, item := range doc.Paths {
		for method, op := range operationsOf(item) {
			t := taken{body: op.RequestBody != nil}
			for _, p := range op.Parameters {
				if p.In == "query" {
					t.query = append(t.query, p.Name)
				}
			}
			all[method+" "+path] = t
		}
	}
	return all
}

// probes accept any query: they do nothing, and a load balancer may add its own.
var probes = map[string]bool{"GET /healthz": true, "GET /readyz": true}

// checkOpen refuses what a route without a key does not accept.
func checkOpen(pattern string, r *http.Request) error {
	if probes[pattern] {
		return nil
	}
	if _, err := strict.Query(r.URL.RawQuery); err != nil {
		return err
	}
	if r.ContentLength != 0 {
		return errNoBody
	}
	return nil
}

var errNoBody = &hook.Error{Code: hook.CodeInvalidRequest, Message: "This route takes no request body. Nothing was done. Send the request without one."}

// checkNoBody refuses the body of a request to a route that accepts none: it was meant
// for another route, or it is a webhook that was sent here. An empty object is
// accepted, because some clients always send one.
func checkNoBody(text []byte) error {
	if text = bytes.TrimSpace(text); len(text) == 0 || len(text) >= 2 && text[0] == '{' && text[len(text)-1] == '}' && len(bytes.TrimSpace(text[1:len(text)-1])) == 0 {
		return nil
	}
	return errNoBody
}
