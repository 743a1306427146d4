package servertest

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
)

// AnotherKey is a master key that has sealed nothing.
var AnotherKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32))

// OwnProfile is a format of the house whose body names the text it comes from.
const OwnProfile = `name: own
envelope:
  text: FIRST
  data: $event.data
signature:
  - header: X-Sig
    algorithm: hmac-sha256
    signed: "{body}"
    output: "sha256={signature}"
    digest: hex
success: 2xx
timeout: 10s
retry: {delays: [1s], then: repeat}
secret: {characters: 40, encoding: text}
test_event: {type: webhook.test, data: '{"test": true}'}
`

// WriteFile writes a file that only the owner may read, and returns its path.
func WriteFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Alter runs a statement on the file of a store, past its server.
func Alter(t *testing.T, database, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+database+"?_pragma=busy_timeout(5000)") // a server may be writing meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
