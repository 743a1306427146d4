package client

import (
	"context"
	"net/url"
)

// Found is something that an id belongs to.
type Found struct {
	Kind      string `json:"kind" enum:"event,delivery,endpoint,tenant,key,replay,request" doc:"What it is. request: a request that the audit log has."`
	ID        string `json:"id" doc:"Its whole id."`
	Tenant    string `json:"tenant,omitempty" doc:"Whose it is. Absent: it belongs to no tenant."`
	Name      string `json:"name" doc:"The type of an event or a delivery, the URL of an endpoint, the source of a replay, the act of a request, else a name for people. Empty: it has none."`
	CreatedAt Time   `json:"created_at" doc:"When it was made or accepted."`
	Path      string `json:"path" doc:"Path and query of the GET request that shows it, or a list with it."`
}

// SearchResults are what an id, or the beginning of one, belongs to: kind by kind, each
// newest first, at most 20 of a kind.
type SearchResults struct {
	Data []Found  `json:"data" nullable:"false" doc:"What was found. Empty: nothing that the key may see."`
	More []string `json:"more" nullable:"false" doc:"The kinds of which not all is shown: there are more than 20, or 10,000 were looked at. Give more digits."`
}

// Search finds what an id belongs to: a whole id of any kind, or the first 8 or more
// hexadecimal digits of one. It finds only what the key may see.
func (c *Client) Search(ctx context.Context, id string) (SearchResults, error) {
	return get[SearchResults](ctx, c, "/v1/search?q="+url.QueryEscape(id))
}
