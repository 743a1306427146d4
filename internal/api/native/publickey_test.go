package native_test

import (
	"os"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/webhook"
)

func TestPublicKey(t *testing.T) {
	const file = "../../../examples/profiles/standard-ed25519.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(file, text)
	if err != nil {
		t.Fatal(err)
	}
	set := profile.Builtin()
	if err := set.Add(p); err != nil {
		t.Fatal(err)
	}
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.Profiles = set })
	h.tenant("acme")
	made := want[client.Endpoint](h, 201, endpointWith(`,"profile":"standard-ed25519"`))
	public, err := webhook.PublicKey(made.Secret)
	if err != nil || made.PublicKey != public || public == "" {
		t.Errorf("made: %q, want %q, %v", made.PublicKey, public, err)
	}
	path := "/v1/endpoints/" + made.ID
	if got := want[client.Endpoint](h, 200, get(path)); got.PublicKey != public {
		t.Errorf("read: %q", got.PublicKey)
	}
	if got := h.patch(made.ID, `{"title":"T"}`); got.PublicKey != public {
		t.Errorf("changed: %q", got.PublicKey)
	}
	rotated := want[client.RotatedSecret](h, 200, post(path+"/secret/rotate", nil))
	if next, _ := webhook.PublicKey(rotated.Secret); rotated.PublicKey != next || next == public || want[client.Endpoint](h, 200, get(path)).PublicKey != next {
		t.Errorf("rotated: %+v", rotated.PublicKey)
	}
	if got := h.patch(made.ID, `{"profile":"standard"}`); got.PublicKey != "" { // control: a shared secret has no public key
		t.Errorf("of a shared secret: %q", got.PublicKey)
	}
	refused(h, 422, "invalid_request", "public_key", call{"PATCH", path, liveKey, `{"public_key":"x"}`, nil})
}
