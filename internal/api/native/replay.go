package native

import (
	"context"
	"encoding/json"

	"github.com/posthorn/posthorn/internal/hook"
)

// A repeated request is answered with what was kept, a secret in it included, but only as
// long as that secret is in force: a kept answer must not give away what was rotated,
// deleted or revoked since, nor hand somebody a secret that no longer works.

// replayEndpoint checks the kept answer of a request that made a secret of an endpoint. A
// zero id stands for the endpoint that the answer names.
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

// replayKey checks the kept answer of a request that made a key.
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
