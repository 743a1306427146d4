package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

// A request of the PaySway documents' own example (PaySway docs: verify-requests).
const (
	paySwaySecret   = "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y="
	standardRequest = "POST /hook HTTP/1.1\nwebhook-id: a\nwebhook-timestamp: 1738002855\nwebhook-signature: v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n{}"
	paySwayRequest  = "POST /hook HTTP/1.1\nX-PaySway-Signature: t=1738002855,v1=c9854765d242b9078e68b6fca1755f208ba70a7aa7c372abc4ec341483e34496\n\n{\"foo\":\"bar\"}"
)

func TestVerifyCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("secret", paySwaySecret+"\r\n")
	other := write("other", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	profile := write("own.yaml", `
name: own
envelope: raw
signature: [{header: X-Own-Signature, algorithm: hmac-sha256, signed: "{body}", output: "sha256={signature}", digest: hex}]
secret: {characters: 40, encoding: text, import: {min: 24, max: 128}}
success: 2xx
retry: {delays: [1m], then: fail}
timeout: 30s
test_event: {type: t, data: "{}"}
`)
	own := "X-Own-Signature: sha256=bff0350244fdc441b6f4ce482c3a77ffc919a36b9445791a4bb081d5642618ac\n\n{\"foo\":\"bar\"}"
	ownSecret := "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc"
	at := []string{"--profile", "paysway", "--secret-file", secret, "--at", "1738002855"}
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string
	}{
		{"valid", paySwayRequest, at, exit.OK, "valid (paysway)\n"},
		{"a time as text", paySwayRequest, append(at[:4:4], "--at", "2025-01-27T18:34:15Z"), exit.OK, "valid"},
		{"old", paySwayRequest, at[:4], exit.Failed, "not valid: old_timestamp\n"},
		{"old, ignored", paySwayRequest, append(at[:4:4], "--ignore-age"), exit.OK, "ignored"},
		{"rotated", paySwayRequest, []string{"--profile", "paysway", "--secret-file", other, "--secret-file", secret, "--at", "1738002855"}, exit.Failed, "other_secret"},
		{"re-encoded", strings.Replace(paySwayRequest, `{"foo":"bar"}`, "{\n  \"foo\": \"bar\"\n}", 1), at, exit.Failed, "body_reencoded\n  The body was re-encoded: the signature fits it with no white space"},
		{"other profile", paySwayRequest, []string{"--secret-file", secret}, exit.Failed, "wrong_profile"},
		{"own profile", own, []string{"--profile-file", profile, "--secret", ownSecret}, exit.OK, "valid (own)"},
		{"own profile, wrong secret", own, []string{"--profile-file", profile, "--secret", ownSecret + "x"}, exit.Failed, "wrong_secret"},
		{"no secret", paySwayRequest, []string{"--profile", "paysway"}, exit.Usage, ""},
		{"no secret of the format", standardRequest, []string{"--secret", "foo"}, exit.Usage, "The secret cannot be one of this format: it must start with whsec_."},
		{"a response", "HTTP/1.1 200 OK\n\n{}", at, exit.Usage, ""},
		{"empty secret", paySwayRequest, []string{"--profile", "paysway", "--secret", ""}, exit.Usage, ""},
		{"secret file missing", paySwayRequest, []string{"--secret-file", dir + "/none"}, exit.Usage, ""},
		{"unknown profile", paySwayRequest, append(at[2:4:4], "--profile", "none"), exit.Usage, ""},
		{"broken profile", paySwayRequest, []string{"--secret-file", secret, "--profile-file", secret}, exit.Usage, ""},
		{"no time", paySwayRequest, append(at[:4:4], "--at", "yesterday"), exit.Usage, ""},
		{"empty file", "", at, exit.Usage, ""},
		{"binary", "\x00\x01\x02\xff\xfe", at, exit.Usage, ""},
		{"cut in the headers", paySwayRequest[:60], at, exit.Usage, ""},
		{"cut in the body", paySwayRequest[:len(paySwayRequest)-4], at, exit.Failed, "truncated_body"},
		{"entry that is not there", `[{"headers": {"a": "b"}}]`, append(at[:len(at):len(at)], "--entry", "3"), exit.Usage, ""},
	} {
		out, errOut, code := invoke(t, c.stdin, append([]string{"verify", "-"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) || (code == exit.OK) != (errOut == "") {
			t.Errorf("%s: code %d, want %d and %q: %s%s", c.name, code, c.code, c.says, out, errOut)
		}
		if strings.Contains(out+errOut, paySwaySecret[:20]) || strings.Contains(out+errOut, "c9854765") {
			t.Errorf("%s: a secret or a signature is shown: %s%s", c.name, out, errOut)
		}
	}
	out, _, _ := invoke(t, paySwayRequest, append([]string{"verify", "-", "--json"}, at[:4]...)...)
	var v struct {
		Valid   bool
		Cause   string
		Notes   []string
		Profile string
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Valid || v.Cause != "old_timestamp" || v.Profile != "paysway" || len(v.Notes) == 0 {
		t.Errorf("--json: %s %v", out, err)
	}
	if _, errOut, code := invoke(t, "", "verify", "--secret", "x"); code != exit.Usage || !strings.Contains(errOut, "one file") {
		t.Errorf("no file: %d %s", code, errOut)
	}
}
