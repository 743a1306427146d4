package store_test

import (
	"context"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		dir := t.TempDir()
		return &storetest.Harness{
			Open: func(o store.Options) (*store.Store, error) {
				o.Dir, o.Reserve = dir, -1
				return store.Open(context.Background(), o)
			},
			Bytes: func() []byte { return storetest.Bytes(t, dir) },
		}
	})
}

var live = hook.Scope{Tenant: "acme", Mode: hook.Live}
