// Package jwks is the HTTP adapter for the public keys of a tenant's endpoints that
// sign with ed25519, as a JSON Web Key Set (RFC 7517, RFC 8037). It requires no API
// key: receivers fetch from it the keys with which they verify.
//
// A response contains only public keys, does not reveal whether a tenant exists, and is
// bounded. The server mounts the handler only if the operator enables it.
package jwks

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Options configures the handler. Service and Log are required.
type Options struct {
	Service *app.Service
	Log     *slog.Logger
	// Refused, if set, is called for each response of 401, 403 or 429 with its code. It
	// is called concurrently.
	Refused func(status int, code string)
}

// Pattern is the handler's pattern for an http.ServeMux.
const Pattern = "/.well-known/webhook-keys/"

// Set is a JSON Web Key Set (RFC 7517 section 5).
type Set struct {
	Keys []Key `json:"keys"`
}

// Key is a public ed25519 key (RFC 8037 section 2). KeyID is its thumbprint (RFC 7638).
type Key struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// New returns the handler. It is safe for concurrent use.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	refuse := func(w http.ResponseWriter, r *http.Request, err error) {
		native.Refuse(w, r, native.Options{Service: o.Service, Log: o.Log, Refused: o.Refused}, err)
	}
	route := func(mode hook.Mode) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			adapter.Serve(w, r, func(w http.ResponseWriter, r *http.Request) error { return o.answer(w, r, mode) }, refuse)
		}
	}
	mux.HandleFunc(Pattern+"{tenant}/jwks.json", route(hook.Live))
	mux.HandleFunc(Pattern+"{tenant}/test/jwks.json", route(hook.Test))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		adapter.Serve(w, r, func(http.ResponseWriter, *http.Request) error {
			return &hook.Error{Code: hook.CodeRouteNotFound, Message: "There is no such route. Public keys are at " + Pattern + "TENANT/jwks.json, those of test mode at " + Pattern + "TENANT/test/jwks.json."}
		}, refuse)
	})
	return mux
}

func (o Options) answer(w http.ResponseWriter, r *http.Request, mode hook.Mode) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", http.MethodGet)
		return &hook.Error{Code: hook.CodeMethodNotAllowed, Message: "This route takes GET only."}
	}
	query, err := strict.Query(r.URL.RawQuery, "endpoint")
	if err != nil {
		return err
	}
	var endpoint hook.ID
	if text := query.Get("endpoint"); text != "" {
		if endpoint, err = hook.ParseID(text); err != nil || endpoint.IsZero() {
			return &hook.Error{Code: hook.CodeInvalidRequest, Field: "endpoint", Message: "\"endpoint\" must be the id of an endpoint, a UUID."}
		}
	}
	texts, err := o.Service.PublicKeys(r.Context(), adapter.Address(r), hook.Scope{Tenant: r.PathValue("tenant"), Mode: mode}, endpoint)
	if err != nil {
		return err
	}
	set := Set{Keys: []Key{}}
	for _, text := range texts {
		key, err := keyOf(text)
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, key)
	}
	body, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(body) // an error means that the caller disconnected
	return nil
}

// keyOf converts the text of a public key (whpk_...) to a JWK.
func keyOf(text string) (Key, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whpk_"))
	if err != nil {
		return Key{}, fmt.Errorf("public key: %w", err)
	}
	k := Key{Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(raw), Use: "sig", Algorithm: "EdDSA"}
	// The thumbprint covers these members, in the order of their names (RFC 8037
	// appendix A.3).
	sum := sha256.Sum256([]byte(`{"crv":"` + k.Curve + `","kty":"` + k.Type + `","x":"` + k.X + `"}`))
	k.KeyID = base64.RawURLEncoding.EncodeToString(sum[:])
	return k, nil
}
