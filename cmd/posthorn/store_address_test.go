package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

// Whatever is given as an address of a store, no part of it that may be a password is
// in what is said about it.
func TestAddressesOfStoresAreNotShown(t *testing.T) {
	const secret = "s3cret"
	for _, address := range []string{
		"host=127.0.0.1 user=p password=" + secret + " dbname=p",
		"host=127.0.0.1 password=" + secret + ":x",
		"mysql://p:" + secret + "@h/d",
		secret,
		"Postgres://p:" + secret + "@h/d",
	} {
		for _, command := range [][]string{{"serve", "--store", address}, {"doctor", "--store", address}, {"migrate", "--from", "sqlite:x.db", "--to", address},
			{"migrate", "--from", address, "--to", "postgres://h/d"}} {
			out, errOut, code := invoke(t, "", command...)
			if code != exit.Usage || strings.Contains(out+errOut, secret) || !strings.Contains(errOut, "sqlite:") && !strings.Contains(errOut, "postgres://") {
				t.Errorf("%v: code %d, %s%s", command[:2], code, out, errOut)
			}
		}
	}
}

// A file of a secret that is empty is a mistake, and not the absence of the secret: a
// server that was to work on PostgreSQL must not begin a store of its own.
func TestEmptyFilesOfSecretsAreRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POSTHORN_STORE_FILE", empty)
	data := filepath.Join(t.TempDir(), "data")
	for _, command := range [][]string{{"serve", "--data", data}, {"doctor"}, {"migrate", "--from", "sqlite:x.db"}} {
		if out, errOut, code := invoke(t, "", command...); code != exit.Usage || !strings.Contains(errOut, "POSTHORN_STORE_FILE") || !strings.Contains(errOut, "empty") {
			t.Errorf("%v: code %d, %s%s", command, code, out, errOut)
		}
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("serve made a data directory")
	}
}
