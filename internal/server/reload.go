package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
)

// LoadProfiles returns the built-in profiles and those of the directory.
func LoadProfiles(cfg *Config) (*profile.Set, error) {
	set := profile.Builtin()
	if cfg.ProfileDir != "" {
		list, err := profile.ReadDir(cfg.ProfileDir)
		if err == nil {
			err = set.Reload(list)
		}
		if err != nil {
			return nil, exit.Usagef("--profile-dir: %w", err)
		}
	}
	if _, ok := set.Get(cfg.Profile); !ok {
		return nil, exit.Usagef("--profile: %q is not one of %s", cfg.Profile, strings.Join(set.Names(), ", "))
	}
	return set, nil
}

// ReloadProfiles reads the directory again and logs the result. An error in any file leaves
// all profiles unchanged.
func (n *Node) ReloadProfiles(ctx context.Context) {
	if n.cfg.ProfileDir == "" {
		return
	}
	changed, gone, err := n.replaceProfiles(ctx)
	if bad, ok := errors.AsType[*profile.FileError](err); ok {
		n.log.Error("profiles not reloaded, everything stays as it was", "file", bad.File, "line", bad.Line, "reason", bad.Reason)
		return
	}
	if err != nil {
		n.log.Error("profiles not reloaded, everything stays as it was", "error", err)
		return
	}
	if len(gone) > 0 {
		n.log.Warn("profiles without a file stay in force until the next start", "profiles", gone)
	}
	n.log.Info("profiles reloaded", "changed", changed)
}

// replaceProfiles activates the profiles of the directory. It stores their texts first: a
// delivery must never refer to a text that is missing after a restart.
func (n *Node) replaceProfiles(ctx context.Context) (changed, gone []string, err error) {
	list, err := profile.ReadDir(n.cfg.ProfileDir)
	if err != nil {
		return nil, nil, err
	}
	named := map[string]bool{}
	for _, p := range list {
		named[p.Name()] = true
		if old, ok := n.profiles.Get(p.Name()); ok && old.Hash() == p.Hash() {
			continue
		}
		if err := n.store.PutProfile(ctx, p.Hash(), p.Name(), string(p.Text())); err != nil {
			return nil, nil, fmt.Errorf("keep profile %s: %w", p.Name(), err)
		}
		changed = append(changed, p.Name())
	}
	for _, name := range n.profiles.Names() {
		if p, _ := n.profiles.Get(name); !p.Builtin() && !named[name] {
			gone = append(gone, name)
		}
	}
	return changed, gone, n.profiles.Reload(list)
}
