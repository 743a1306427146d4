package server

import (
	"cmp"
	"os"
	"strings"

	"github.com/posthorn/posthorn/internal/exit"
)

// StoreAddress returns the address of the store: the one given, or that of the environment.
func StoreAddress(given string) (string, error) {
	if given = cmp.Or(given, os.Getenv("POSTHORN_STORE")); given != "" {
		return given, nil
	}
	path := os.Getenv("POSTHORN_STORE_FILE")
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", exit.Usagef("POSTHORN_STORE_FILE: %w", err)
	}
	address := strings.TrimRight(string(text), "\r\n")
	if address == "" {
		return "", exit.Usagef("POSTHORN_STORE_FILE: %s is empty", path)
	}
	return address, nil
}

// IsPostgres reports whether a store is a PostgreSQL database.
func IsPostgres(address string) bool {
	c := Config{Store: address}
	return c.postgres()
}

// StoreScheme is the part of a store's address that is safe to show: the rest may hold
// a password.
func StoreScheme(store string) string {
	name, _, found := strings.Cut(store, ":")
	if !found || len(name) > 16 || strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || r == '+') }) {
		return "..."
	}
	return name + ":..."
}
