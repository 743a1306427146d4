package profile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/webhook"
)

// The format of Svix has two sets of headers with the same values, and the data alone as
// its body. The id is the one that the Svix API shows.
func TestGoldenSvix(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	p := builtin(t, "svix")
	in := input()
	body := p.Render(nil, in)
	if !bytes.Equal(body, in.Event.Data) {
		t.Errorf("the body is not the data: %s", body)
	}
	headers, err := p.Headers(nil, in, body, signer(t, p, secret))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, h := range headers {
		fmt.Fprintf(&got, "%s: %s\n", h.Name, h.Value)
	}
	fmt.Fprintf(&got, "\n%s\n", body)
	file := filepath.Join("testdata", "golden", "svix.http")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
	verify(t, webhook.Standard(), secret, headers, body)
	for _, spec := range p.Specs() {
		verify(t, spec, secret, headers, body)
	}
	if p.Management() != "svix" {
		t.Error(p.Management())
	}
}
