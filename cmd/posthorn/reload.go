package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/posthorn/posthorn/internal/profile"
)

// loadProfiles returns the built-in profiles and those of the directory.
func loadProfiles(cfg *Config) (*profile.Set, error) {
	set := profile.Builtin()
	if cfg.ProfileDir != "" {
		list, err := readProfiles(cfg.ProfileDir)
		if err == nil {
			err = set.Reload(list)
		}
		if err != nil {
			return nil, usage("--profile-dir: %w", err)
		}
	}
	if _, ok := set.Get(cfg.Profile); !ok {
		return nil, usage("--profile: %q is not one of %s", cfg.Profile, strings.Join(set.Names(), ", "))
	}
	return set, nil
}

// readProfiles reads the *.yaml files of a directory, all of them or none.
func readProfiles(dir string) ([]*profile.Profile, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no *.yaml files in %s", dir)
	}
	var list []*profile.Profile
	by := map[string]string{} // names taken, by what
	for _, name := range profile.Builtin().Names() {
		by[name] = "a built-in profile"
	}
	for _, file := range files {
		p, err := readProfile(file)
		if err != nil {
			return nil, err
		}
		if owner, taken := by[p.Name()]; taken {
			return nil, nameTaken(file, p, owner)
		}
		by[p.Name()] = file
		list = append(list, p)
	}
	return list, nil
}

func nameTaken(file string, p *profile.Profile, owner string) error {
	return &profile.FileError{File: file, Line: p.NameLine(), Reason: fmt.Sprintf("name: %q is taken by %s", p.Name(), owner)}
}

// readProfile reads one file. What is no regular file, such as a pipe without a
// writer, could keep a reader waiting for ever.
func readProfile(file string) (*profile.Profile, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, profile.MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	return profile.Load(file, text)
}

// reloadProfiles reads the directory again and logs what became of it. A mistake
// in any file leaves everything as it was.
func (n *node) reloadProfiles(ctx context.Context) {
	if n.cfg.ProfileDir == "" {
		n.log.Warn("nothing to reload: there is no --profile-dir")
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

// replaceProfiles puts the profiles of the directory in force. Their texts are
// stored first: a delivery must never refer to a text that a restart would not find.
func (n *node) replaceProfiles(ctx context.Context) (changed, gone []string, err error) {
	list, err := readProfiles(n.cfg.ProfileDir)
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
