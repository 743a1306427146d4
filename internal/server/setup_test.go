package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/internal/server/servertest"
)

func startLive(t *testing.T, args ...string) *servertest.Live {
	t.Helper()
	return servertest.Start(t, args...)
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ownProfile is a format of the house whose body names the text it comes from.
const ownProfile = `name: own
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
