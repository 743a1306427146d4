// Package receivers_test keeps the receiver guides correct. The code on the pages is the
// code in the folders next to this file, and the requests on the pages verify with the
// secrets shown with them.
package receivers_test

import (
	"bufio"
	"bytes"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/webhook"
)

var update = flag.Bool("update", false, "write the files into the pages")

const root = "../../"

// listing matches a fenced code block below a comment that names its file.
var listing = regexp.MustCompile("(?ms)^<!-- (examples/receivers/\\S+) -->\n```([a-z]+)\n(.*?)^```$")

// fill returns the page with every listing replaced by the content of its file, and the
// names of the files.
func fill(page []byte, read func(name string) ([]byte, error)) (filled []byte, names []string, err error) {
	filled = listing.ReplaceAllFunc(page, func(block []byte) []byte {
		parts := listing.FindSubmatch(block)
		names = append(names, string(parts[1]))
		text, failed := read(string(parts[1]))
		if failed != nil {
			err = failed
			return block
		}
		return slices.Concat([]byte("<!-- "), parts[1], []byte(" -->\n```"), parts[2], []byte("\n"), text, []byte("```"))
	})
	return filled, names, err
}

func fromRoot(name string) ([]byte, error) { return os.ReadFile(root + name) }

func pages(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(root + "docs/receivers/*.md")
	if err != nil || len(names) != 4 {
		t.Fatalf("%d pages, want 4 (%v)", len(names), err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		if out[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestPagesShowTheFiles(t *testing.T) {
	var shown []string
	for name, page := range pages(t) {
		want, names, err := fill(page, fromRoot)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, names...)
		if bytes.Equal(page, want) {
			continue
		}
		if !*update {
			t.Errorf("%s shows other code than the files hold; go test ./examples/receivers -update writes it", name)
		} else if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"go/*.go", "node/*.mjs", "python/*.py"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) != 4 {
			t.Fatalf("%s: %d files, want 4 (%v)", pattern, len(files), err)
		}
		for _, file := range files {
			if !slices.Contains(shown, "examples/receivers/"+filepath.ToSlash(file)) {
				t.Errorf("%s is on no page", file)
			}
		}
	}
}

// TestStalePageIsSeen is the control of TestPagesShowTheFiles.
func TestStalePageIsSeen(t *testing.T) {
	page := []byte("text\n\n<!-- examples/receivers/go/main.go -->\n```go\npackage old\n```\nmore\n")
	filled, names, err := fill(page, fromRoot)
	if err != nil || len(names) != 1 || bytes.Equal(filled, page) {
		t.Errorf("a page with old code passed: %v, %v", names, err)
	}
	again, _, err := fill(filled, fromRoot)
	if err != nil || !bytes.Equal(again, filled) {
		t.Errorf("a page that was brought up to date did not pass: %v", err)
	}
}

var (
	shownSecret  = regexp.MustCompile("made with the secret `([^`]+)`")
	shownRequest = regexp.MustCompile("(?ms)^```http\n(.*?)\n```$")
	shownTime    = regexp.MustCompile(`(?m)(?:webhook-timestamp: |t=)([0-9]+)`)
)

// TestShownRequestsVerify verifies the request in each guide. The control is a copy with one
// bit of the body changed.
func TestShownRequestsVerify(t *testing.T) {
	specs := map[string]webhook.Spec{"standard": webhook.Standard(), "paysway": webhook.PaySway(), "paywise": webhook.Paywise()}
	for format, spec := range specs {
		page := pages(t)[root+"docs/receivers/"+format+".md"]
		secret, request := shownSecret.FindSubmatch(page), shownRequest.FindSubmatch(page)
		if secret == nil || request == nil {
			t.Fatalf("%s: no request or no secret on the page", format)
		}
		v, err := webhook.NewVerifier(spec, string(secret[1]))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if at := shownTime.FindSubmatch(request[1]); at != nil {
			seconds, _ := strconv.ParseInt(string(at[1]), 10, 64)
			v.Now = func() time.Time { return time.Unix(seconds, 0) }
		}
		text := strings.ReplaceAll(string(request[1]), "\n", "\r\n")
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if err := v.Verify(r.Header, body); err != nil {
			t.Errorf("%s: the request on the page: %v", format, err)
		}
		body[len(body)-2] ^= 1
		if v.Verify(r.Header, body) == nil {
			t.Errorf("%s: a forged copy of the request on the page verifies", format)
		}
	}
}
