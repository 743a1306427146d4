package client

import (
	"context"
	"net/http"
	"net/url"
)

// MasterKey describes a master key of the node that answers. Keys themselves never leave the
// server.
type MasterKey struct {
	ID      string   `json:"id" doc:"Eight hexadecimal digits, derived from the key. It may be shown."`
	State   string   `json:"state" enum:"seals,needed,unused" doc:"seals: the key seals what is stored from now on. needed: stored values that it sealed are being sealed again. unused: nothing in the database needs it, but backups may."`
	Missing []string `json:"missing" nullable:"false" doc:"The live nodes that do not have the key. A key can seal once this is empty."`

	Resealed   int64 `json:"resealed" doc:"Of the key that sealed before: how many values were sealed again so far."`
	Damaged    int64 `json:"damaged" doc:"Of the key that sealed before: how many values did not open with any key when the rotation ended. They stay as they are."`
	ReplacedAt *Time `json:"replaced_at" doc:"When another key took over. null: never, or longer ago than the last rotation."`
	ReleasedAt *Time `json:"released_at" doc:"When nothing in the database needed the key any more. null: not yet, or longer ago than the last rotation."`
}

// MasterKeyRotation is a rotation that has begun.
type MasterKeyRotation struct {
	From      string `json:"from" doc:"The id of the key that sealed before. It is needed until everything is sealed again, and for backups that were made before."`
	To        string `json:"to" doc:"The id of the key that seals from now on. Back it up now."`
	StartedAt Time   `json:"started_at" doc:"When the rotation began."`
}

// MasterKeys returns a page of the master keys of the node that answers, oldest first. Operators of live
// mode only.
func (c *Client) MasterKeys(ctx context.Context, q ListOptions) (Page[MasterKey], error) {
	return get[Page[MasterKey]](ctx, c, "/v1/master-keys"+queryOf(q))
}

// RotateMasterKey makes the newest master key seal, and starts sealing everything that is
// stored again. On a single server with the key in a file it makes that key first.
func (c *Client) RotateMasterKey(ctx context.Context) (MasterKeyRotation, error) {
	return post[MasterKeyRotation](ctx, c, "/v1/master-keys/rotate", nil)
}

// DropMasterKey removes a master key that nothing in the database needs from the key file of
// the node that answers.
func (c *Client) DropMasterKey(ctx context.Context, id string) error {
	return c.Do(ctx, http.MethodDelete, "/v1/master-keys/"+url.PathEscape(id), "", nil, nil)
}
