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

// builtins parses the built-in files once. A file that does not load is omitted rather than
// ending the process; a test loads each of them.
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

// Set is a collection of profiles. It is safe for concurrent use. Readers load an immutable
// snapshot without a lock, and writers replace the snapshot.
type Set struct {
	now     atomic.Pointer[snapshot]
	writing sync.Mutex
}

// snapshot is the content of a set at one time. It is never changed.
type snapshot struct {
	byName map[string]*Profile
	byHash map[hook.ProfileHash]*Profile
}

// Builtin returns a new set that contains the four built-in profiles.
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

// isBuiltin reports whether name belongs to a built-in profile. No file may use such a name.
func isBuiltin(name string) bool {
	return slices.ContainsFunc(builtins(), func(p *Profile) bool { return p.name == name })
}

// change replaces the snapshot with a copy that edit has changed. If edit fails, the
// snapshot stays.
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

// Add adds a profile to the set. It refuses a name that is already in use, because endpoints
// that refer to it would silently change their format.
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

// Reload replaces the profiles that have the same names as those in list. It replaces all of
// them, or on an error none. The replaced texts are kept, and ByHash finds them. Profiles
// that list does not contain stay. Reload refuses the names of built-in profiles and
// duplicate names in list.
func (s *Set) Reload(list []*Profile) error {
	return s.change(func(next *snapshot) error {
		seen := map[string]bool{}
		for _, p := range list {
			if isBuiltin(p.name) || seen[p.name] {
				return fmt.Errorf("reload profiles: the name %q is taken", p.name)
			}
			seen[p.name] = true
			if known, ok := next.byHash[p.hash]; ok {
				p = known // an unchanged text keeps its Profile, so that pointers still compare equal
			}
			next.byName[p.name] = p
			next.byHash[p.hash] = p
		}
		return nil
	})
}

// Keep adds an earlier text of a profile, which ByHash finds and Get does not. Pending
// deliveries continue to be rendered with the text with which they were first rendered.
func (s *Set) Keep(p *Profile) {
	_ = s.change(func(next *snapshot) error { next.byHash[p.hash] = p; return nil }) // edit never fails
}

// Get returns the profile with the given name.
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

// Builtin reports whether the profile is one of the built-in profiles.
func (p *Profile) Builtin() bool { return slices.Contains(builtins(), p) }
