package native

import (
	"context"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) masterKeyRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/master-keys", "list-master-keys", "List the master keys of this node", 200), a.listMasterKeys)
	register(a, h, operation("POST", "/v1/master-keys/rotate", "rotate-master-key", "Seal with the newest master key from now on", 200), a.rotateMasterKey)
	register(a, h, operation("DELETE", "/v1/master-keys/{id}", "drop-master-key", "Remove a master key that is no longer needed", 204), a.dropMasterKey)
}

type masterKeysIn struct{ PageIn }

func (a *api) listMasterKeys(ctx context.Context, q *request, in *masterKeysIn) (*reply[client.Page[client.MasterKey]], error) {
	all, err := a.o.Service.MasterKeys(ctx, q.caller)
	if err != nil {
		return nil, err
	}
	at, rows, next := in.page(), []client.MasterKey{}, ""
	left := all.Keys[slices.IndexFunc(all.Keys, func(k hook.MasterKey) bool { return k.ID == at.Cursor })+1:]
	for i, k := range left {
		if i == at.Limit {
			next = left[i-1].ID
			break
		}
		row := client.MasterKey{ID: k.ID, State: k.State, Missing: append([]string{}, k.Missing...)}
		if r := all.Rotation; r != nil && r.From == k.ID {
			row.Resealed, row.Damaged, row.ReplacedAt, row.ReleasedAt = r.Resealed, r.Damaged, someTime(r.StartedAt), someTime(r.EndedAt)
		}
		rows = append(rows, row)
	}
	return page(q, rows, next), nil
}

func (a *api) rotateMasterKey(ctx context.Context, q *request, _ *struct{}) (*reply[client.MasterKeyRotation], error) {
	r, err := a.o.Service.RotateMasterKey(ctx, q.caller)
	if err != nil {
		return nil, err
	}
	return made(200, client.MasterKeyRotation{From: r.From, To: r.To, StartedAt: wireTime(r.StartedAt)}, nil), nil
}

func (a *api) dropMasterKey(ctx context.Context, q *request, in *ItemIn) (*none, error) {
	return nil, a.o.Service.DropMasterKey(ctx, q.caller, in.ID)
}
