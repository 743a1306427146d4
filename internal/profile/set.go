package profile

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

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

// Set is a collection of profiles. Fill it first; after that it is safe for
// concurrent use.
type Set struct {
	byName map[string]*Profile
	byHash map[hook.ProfileHash]*Profile
}

// Builtin returns a new set with the four built-in profiles.
func Builtin() *Set {
	s := &Set{byName: map[string]*Profile{}, byHash: map[hook.ProfileHash]*Profile{}}
	for _, p := range builtins() {
		s.byName[p.name] = p
		s.byHash[p.hash] = p
	}
	return s
}

// Add puts a profile into the set. A name that is taken is refused: endpoints that
// refer to it would silently change their format.
func (s *Set) Add(p *Profile) error {
	if _, taken := s.byName[p.name]; taken {
		return fmt.Errorf("add profile: the name %q is taken", p.name)
	}
	s.byName[p.name] = p
	s.byHash[p.hash] = p
	return nil
}

// Keep adds an earlier text of a profile: ByHash finds it, Get does not. Waiting
// deliveries go on being rendered with the text they were first rendered with.
func (s *Set) Keep(p *Profile) { s.byHash[p.hash] = p }

// Get returns the profile of the name.
func (s *Set) Get(name string) (*Profile, bool) {
	p, ok := s.byName[name]
	return p, ok
}

// ByHash returns the profile with exactly this text.
func (s *Set) ByHash(h hook.ProfileHash) (*Profile, bool) {
	p, ok := s.byHash[h]
	return p, ok
}

// Names returns the names in alphabetical order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.byName)) }
