package doctor

import (
	"context"

	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// sealedShown is the largest number of damaged values that are listed.
const sealedShown = 20

// sealedInFile opens what is sealed in a database that has a schema of this release and a
// master key beside it.
func (c *checkup) sealedInFile(ctx context.Context, database string, keys *seal.Keyring) {
	if version, ours, err := sqlite.SchemaVersion(ctx, database); err != nil || version != ours {
		return // reported already
	}
	if keys == nil {
		return // reported already
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
		return // reported already
	}
	db := postgres.Pool(config, 1)
	defer func() { _ = db.Close() }()
	c.sealed(ctx, &sqltext.Reader{DB: db, Dialect: postgres.NewDialect()}, keys)
}

// sealed opens every sealed value of the endpoints and names those that do not open.
func (c *checkup) sealed(ctx context.Context, q sqltext.Querier, keys *seal.Keyring) {
	rows, damaged, err := directory.Examine(ctx, q, keys)
	if err != nil {
		c.fail("sealed", "%v", err)
		return
	}
	if len(damaged) == 0 {
		c.ok("sealed", "the encrypted values of %d endpoints and secrets open with the master key", rows)
		return
	}
	for _, at := range damaged[:min(len(damaged), sealedShown)] {
		c.fail("sealed", "%s does not open, so nothing is sent to its endpoint; set the value again (posthorn endpoint update --url or --header, rotate-secret), or delete the endpoint", at)
	}
	if more := len(damaged) - sealedShown; more > 0 {
		c.fail("sealed", "%d or more other values do not open", more)
	}
}
