package doctor

import (
	"context"

	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// sealedShown is the maximum number of damaged values that the doctor lists.
const sealedShown = 20

// sealedInFile checks the sealed values of a database that has the schema of this release
// and a master key.
func (c *checkup) sealedInFile(ctx context.Context, database string, keys *seal.Keyring) {
	if version, ours, err := sqlite.SchemaVersion(ctx, database); err != nil || version != ours {
		return // already reported
	}
	if keys == nil {
		return // already reported
	}
	db, err := sqlite.OpenUnchanged(database)
	if err != nil {
		c.fail("sealed", "%v", err)
		return
	}
	defer func() { _ = db.Close() }()
	c.sealed(ctx, db, keys)
}

func (c *checkup) sealedInPostgres(ctx context.Context, address string, keys *seal.Keyring) {
	config, err := postgres.ParseURL(address)
	if err != nil {
		return // already reported
	}
	db := postgres.Pool(config, 1)
	defer func() { _ = db.Close() }()
	c.sealed(ctx, &sqltext.Reader{DB: db, Dialect: postgres.NewDialect()}, keys)
}

// sealed decrypts every sealed value of the endpoints and reports those that cannot be
// decrypted.
func (c *checkup) sealed(ctx context.Context, q sqltext.Querier, keys *seal.Keyring) {
	rows, damaged, err := directory.Examine(ctx, q, keys)
	if err != nil {
		c.fail("sealed", "%v", err)
		return
	}
	if len(damaged) == 0 {
		c.ok("sealed", "what is sealed of %d endpoints and secrets opens with the master key", rows)
		return
	}
	for _, at := range damaged[:min(len(damaged), sealedShown)] {
		c.fail("sealed", "%s does not open; its endpoint gets nothing meanwhile: set the value anew (posthorn endpoint update --url or --header, rotate-secret), or delete the endpoint", at)
	}
	if more := len(damaged) - sealedShown; more > 0 {
		c.fail("sealed", "%d or more others do not open either", more)
	}
}
