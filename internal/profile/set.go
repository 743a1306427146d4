package profile

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
)

//go:embed builtin/*.yaml
var builtinFiles embed.FS

// builtins parses the built-in files once. A file that does not load is left out
// rather than ending the process; a test loads each.
var builtins = sync.OnceValue(func() []*Profile {
	entries, _ := builtinFiles.ReadDir("builtin")
	var list []*Profile
	for _, entry := range entries {
		file := path.Join("builtin", entry.Name())
		text, err := builtinFiles.ReadFile(file)
		if err != nil {
			continue
		}
		if p, err := Load(file, text); err == nil {
			list = append(list, p)
		}
	}
	return list
})

// Set is a collection of profiles. It is safe for concurrent use: readers look at
// an immutable snapshot without a lock, while writers put the next one in its place.
type Set struct {
	now     atomic.Pointer[snapshot]
	writing sync.Mutex
}

// snapshot is what a set holds at one time. It is never changed.
type snapshot struct {
	byName map[string]*Profile
	byHash map[hook.ProfileHash]*Profile
}

// Builtin returns a new set with the four built-in profiles.
func Builtin() *Set {
	next := snapshot{map[string]*Profile{}, map[hook.ProfileHash]*Profile{}}
	for _, p := range builtins() {
		next.byName[p.name] = p
		next.byHash[p.hash] = p
	}
	s := &Set{}
	s.now.Store(&next)
	return s
}

// isBuiltin reports whether a name belongs to a built-in profile, which no file
// may take.
func isBuiltin(name string) bool {
	return slices.ContainsFunc(builtins(), func(p *Profile) bool { return p.name == name })
}

// change puts a changed copy of the snapshot in its place, unless edit fails.
func (s *Set) change(edit func(next *snapshot) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.now.Load()
	next := &snapshot{maps.Clone(old.byName), maps.Clone(old.byHash)}
	if err := edit(next); err != nil {
		return err
	}
	s.now.Store(next)
	return nil
}

// Add puts a profile into the set. A name that is taken is refused: endpoints that
// refer to it would silently change their format.
func (s *Set) Add(p *Profile) error {
	return s.change(func(next *snapshot) error {
		if _, taken := next.byName[p.name]; taken {
			return fmt.Errorf("add profile: the name %q is taken", p.name)
		}
		next.byName[p.name] = p
		next.byHash[p.hash] = p
		return nil
	})
}

// Reload puts the profiles in the places of those of the same names, all at once
// or, on an error, none. The texts replaced are kept: ByHash finds them. Profiles
// that the list does not name stay. The name of a built-in profile, and one that
// stands in the list twice, are refused.
func (s *Set) Reload(list []*Profile) error {
	return s.change(func(next *snapshot) error {
		seen := map[string]bool{}
		for _, p := range list {
			if isBuiltin(p.name) || seen[p.name] {
				return fmt.Errorf("reload profiles: the name %q is taken", p.name)
			}
			seen[p.name] = true
			if known, ok := next.byHash[p.hash]; ok {
				p = known // the same text stays the same profile for those who compare
			}
			next.byName[p.name] = p
			next.byHash[p.hash] = p
		}
		return nil
	})
}

// Keep adds an earlier text of a profile: ByHash finds it, Get does not. Waiting
// deliveries go on being rendered with the text they were first rendered with.
func (s *Set) Keep(p *Profile) {
	_ = s.change(func(next *snapshot) error { next.byHash[p.hash] = p; return nil }) // adding one text cannot fail
}

// Get returns the profile of the name.
func (s *Set) Get(name string) (*Profile, bool) {
	p, ok := s.now.Load().byName[name]
	return p, ok
}

// ByHash returns the profile with exactly this text.
func (s *Set) ByHash(h hook.ProfileHash) (*Profile, bool) {
	p, ok := s.now.Load().byHash[h]
	return p, ok
}

// Names returns the names in alphabetical order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.now.Load().byName)) }

// Builtin reports whether the profile came with the program.
func (p *Profile) Builtin() bool { return slices.Contains(builtins(), p) }
