package native

import (
	"context"
	"encoding/json"

	"github.com/posthorn/posthorn/internal/hook"
)

// A repeated request gets the stored response, including a secret in it, but only while
// that secret is in force: a stored response must neither reveal what has since been
// rotated, deleted or revoked, nor give out a secret that no longer works.

// replayEndpoint checks the stored response of a request that created a secret of an
// endpoint. A zero id means the endpoint in the stored response.
func (a *api) replayEndpoint(ctx context.Context, q *request, id hook.ID, replay *hook.Replay) error {
	if replay == nil {
		return nil
	}
	var kept struct {
		ID     hook.ID `json:"id"`
		Secret string  `json:"secret"`
	}
	if err := json.Unmarshal(replay.Body, &kept); err != nil {
		return err
	}
	if id.IsZero() {
		id = kept.ID
	}
	return a.o.Service.SecretInForce(ctx, q.caller, id, kept.Secret)
}

// replayKey checks the stored response of a request that created a key.
func (a *api) replayKey(ctx context.Context, replay *hook.Replay) error {
	if replay == nil {
		return nil
	}
	var kept struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(replay.Body, &kept); err != nil {
		return err
	}
	return a.o.Service.KeyInForce(ctx, kept.Key)
}
