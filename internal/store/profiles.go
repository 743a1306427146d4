package store

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Profile is the text of a wire format as deliveries were first rendered with it.
type Profile struct {
	Hash hook.ProfileHash
	Name string
	Text string
	// KeptAt says when the text was put in force: of the texts of a name the newest
	// is the one that all nodes use.
	KeptAt time.Time
}

// KeepProfile stores a profile's text under its hash, so that every retry sends
// the same bytes. Storing it again changes nothing.
func (s *Store) KeepProfile(ctx context.Context, hash hook.ProfileHash, name, text string) error {
	return s.keepProfile(ctx, hash, name, text, "NOTHING")
}

// PutProfile is KeepProfile that makes the text the newest of its name, on every
// node, also if it was kept before.
func (s *Store) PutProfile(ctx context.Context, hash hook.ProfileHash, name, text string) error {
	return s.keepProfile(ctx, hash, name, text, "UPDATE SET kept_at = excluded.kept_at")
}

func (s *Store) keepProfile(ctx context.Context, hash hook.ProfileHash, name, text, known string) error {
	return s.do(ctx, "keep profile", 1, func(t *tx) error {
		n, err := t.exec("keep profile", "INSERT INTO profiles (hash, name, text, kept_at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO "+known,
			hash[:], name, text, sqltext.Micros(t.now))
		if n > 0 {
			t.tell(sqltext.ChangedProfiles, hook.Scope{}, hook.Ref{})
		}
		return err
	})
}

// Profiles returns all kept texts, of each name the newest last.
func (s *Store) Profiles(ctx context.Context) ([]Profile, error) {
	list, err := sqltext.Collect(ctx, s.read, func(row sqltext.Scanner) (p Profile, err error) {
		var kept int64
		err = row.Scan(sqltext.Blob(p.Hash[:]), &p.Name, &p.Text, &kept)
		p.KeptAt = sqltext.FromMicros(kept)
		return p, err
	}, "SELECT hash, name, text, kept_at FROM profiles ORDER BY name, kept_at, hash")
	if err != nil {
		return nil, s.readError("read profiles", err)
	}
	return list, nil
}
