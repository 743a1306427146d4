package profile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReadDir reads the *.yaml files of a directory. If one of them is invalid, it returns none.
func ReadDir(dir string) ([]*Profile, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no *.yaml files in %s", dir)
	}
	var list []*Profile
	by := map[string]string{} // names in use, and what uses each
	for _, name := range Builtin().Names() {
		by[name] = "a built-in profile"
	}
	for _, file := range files {
		p, err := ReadFile(file)
		if err != nil {
			return nil, err
		}
		if owner, taken := by[p.Name()]; taken {
			return nil, NameTaken(file, p, owner)
		}
		by[p.Name()] = file
		list = append(list, p)
	}
	return list, nil
}

// NameTaken returns the error for a file whose profile has a name that owner already uses.
func NameTaken(file string, p *Profile, owner string) error {
	return &FileError{File: file, Line: p.NameLine(), Reason: fmt.Sprintf("name: %q is taken by %s", p.Name(), owner)}
}

// ReadFile reads one file. It refuses anything but a regular file, because a pipe without a
// writer, for example, could block the reader forever.
func ReadFile(file string) (*Profile, error) {
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
	text, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	return Load(file, text)
}
