package store_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/storetest"
)

// PostgreSQL passes the same cases as SQLite.
func TestConformancePostgres(t *testing.T) {
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		url := server.Database(t)
		return &storetest.Harness{
			Open: func(o store.Options) (*store.Store, error) {
				o.Postgres = url
				return store.Open(context.Background(), o)
			},
			Bytes: func() []byte {
				var all []byte
				err := filepath.WalkDir(server.Dir(), func(path string, d os.DirEntry, err error) error {
					if errors.Is(err, fs.ErrNotExist) { // the server works there
						return nil
					}
					if err != nil || !d.Type().IsRegular() {
						return err
					}
					text, err := os.ReadFile(path)
					all = append(all, text...)
					if errors.Is(err, fs.ErrNotExist) {
						return nil
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return all
			},
		}
	})
}
