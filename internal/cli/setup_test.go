package cli

import (
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/server/servertest"
)

// live is a node with a receiver.
type live struct{ *servertest.Live }

func startLive(t *testing.T, args ...string) *live {
	t.Helper()
	return &live{servertest.Start(t, args...)}
}

// shell is a node with a command line.
type shell struct{ *servertest.Shell }

func newShell(t *testing.T) *shell {
	t.Helper()
	return &shell{servertest.NewShell(t, func() *cobra.Command { return Root() })}
}

func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	return servertest.Run(t, Root(), stdin, args...)
}

const exampleDir = "../../examples/profiles"

// get is the server's own answer.
func (s *shell) get(path string) string {
	s.T.Helper()
	req, _ := http.NewRequestWithContext(s.T.Context(), http.MethodGet, s.URL+path, nil)
	req.Header.Set("Authorization", "Bearer "+servertest.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return string(body)
}

// squeezed is a text with one space where several stand, for tables of any width.
func squeezed(text string) string { return manySpaces.ReplaceAllString(text, " ") }

var manySpaces = regexp.MustCompile(" +")
