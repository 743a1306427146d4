package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Scratch creates an empty schema in the database for measurements. It returns a URL that
// selects the schema and a function that deletes the schema with everything in it.
func Scratch(ctx context.Context, postgres string) (there string, drop func() error, err error) {
	config, err := ParseURL(postgres)
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(postgres)
	if err != nil {
		return "", nil, Refused(errors.New("the address is not a URL"))
	}
	name := "posthorn_" + strings.ToLower(rand.Text()[:10])
	if err := execute(ctx, config, "CREATE SCHEMA "+name); err != nil {
		return "", nil, err
	}
	query := u.Query()
	query.Set("search_path", name)
	u.RawQuery = query.Encode()
	return u.String(), func() error { return execute(context.WithoutCancel(ctx), config, "DROP SCHEMA "+name+" CASCADE") }, nil
}

func execute(ctx context.Context, config *pgx.ConnConfig, statement string) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return Refused(StartError(err))
	}
	_, err = conn.Exec(ctx, statement)
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(statement[:strings.IndexByte(statement, ' ')]), StartError(err))
	}
	return nil
}
