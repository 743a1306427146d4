package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// command runs one command line and returns what it printed and its exit code.
func command(t *testing.T, args ...string) (out string, code int, failure string) {
	t.Helper()
	var printed bytes.Buffer
	root := Root()
	root.SetArgs(args)
	root.SetOut(&printed)
	root.SetErr(&printed)
	err := root.ExecuteContext(t.Context())
	if err == nil {
		return printed.String(), exit.OK, ""
	}
	if e, ok := errors.AsType[*exit.Error](err); ok {
		return printed.String(), e.Code, err.Error()
	}
	return printed.String(), exit.Failed, err.Error()
}

func TestProfileCheck(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.yaml":    servertest.OwnProfile,
		"again.yaml":   servertest.OwnProfile,
		"unknown.yaml": strings.Replace(servertest.OwnProfile, "timeout:", "timeuot:", 1),
		"missing.yaml": strings.Replace(servertest.OwnProfile, "success: 2xx\n", "", 1),
		"loop.yaml":    strings.Replace(servertest.OwnProfile, "data: $event.data", "data: &d\n    again: *d", 1),
		"header.yaml":  servertest.OwnProfile + "headers: {Host: evil}\n",
		"value.yaml":   servertest.OwnProfile + "headers: {X-Id: $event.data..id}\n",
		"absent.yaml":  strings.Replace(servertest.OwnProfile, "name: own", "name: absent", 1) + "headers: {X-Id: $event.data.id}\n",
		"taken.yaml":   "# a copy\n" + strings.Replace(servertest.OwnProfile, "name: own", "name: paywise", 1),
		"empty.yaml":   "",
	} {
		servertest.WriteFile(t, dir, name, text)
	}
	for _, c := range []struct {
		files []string
		code  int
		says  []string
	}{
		{[]string{"good.yaml"}, exit.OK, []string{"good.yaml: ok, profile own", `{"text":"FIRST","data":{"test": true}}`, "X-Sig: sha256=",
			"HMAC-SHA256 over {body}", "repeated after 1 s, and so on up to every 1 s without end", "Only 200 to 299 is success.", "may take 10 s"}},
		{[]string{"unknown.yaml"}, exit.Usage, []string{`unknown.yaml:12: unknown name "timeuot"`}},
		{[]string{"missing.yaml"}, exit.Usage, []string{"missing.yaml:1: success: is missing"}},
		{[]string{"loop.yaml"}, exit.Usage, []string{"loop.yaml:4: anchors and aliases are not supported"}},
		{[]string{"header.yaml"}, exit.Usage, []string{"header.yaml:16: headers: header Host is not the profile's to set here"}},
		{[]string{"value.yaml"}, exit.Usage, []string{"value.yaml:16: headers.X-Id: $event.data..id has an empty part between dots"}},
		{[]string{"absent.yaml"}, exit.OK, []string{"absent.yaml: ok", "Warning: The test event has no usable value at /id: it goes out without the header X-Id."}},
		{[]string{"taken.yaml"}, exit.Usage, []string{`taken.yaml:2: name: "paywise" is taken by a built-in profile`}},
		{[]string{"empty.yaml"}, exit.Usage, []string{"empty.yaml:1: the file is empty"}},
		{[]string{"nowhere.yaml"}, exit.Usage, []string{"nowhere.yaml:1: no such file or directory"}},
		{[]string{"good.yaml", "again.yaml", "empty.yaml"}, exit.Usage, []string{"good.yaml: ok", `again.yaml:1: name: "own" is taken by`, "empty.yaml:1:"}},
	} {
		args := []string{"profile", "check"}
		for _, file := range c.files {
			args = append(args, filepath.Join(dir, file))
		}
		out, code, _ := command(t, args...)
		if code != c.code {
			t.Errorf("%v: code %d, want %d\n%s", c.files, code, c.code, out)
		}
		for _, said := range c.says {
			if !strings.Contains(out, said) {
				t.Errorf("%v does not say %q:\n%s", c.files, said, out)
			}
		}
		out, code, _ = command(t, append(args, "--json")...)
		var verdicts []verdict
		if err := json.Unmarshal([]byte(out), &verdicts); err != nil || code != c.code || len(verdicts) != len(c.files) {
			t.Errorf("%v --json: code %d, %d verdicts, %v", c.files, code, len(verdicts), err)
		}
		for _, v := range verdicts {
			if v.OK != (v.Profile != nil) || v.OK == (v.Reason != "" && v.Line > 0) {
				t.Errorf("%s: %+v", v.File, v)
			}
		}
	}
	if _, code, says := command(t, "profile", "check"); code != exit.Usage || !strings.Contains(says, "at least one FILE") {
		t.Errorf("without a file: %d %s", code, says)
	}
}

func TestPublicKeyOfASecret(t *testing.T) {
	for secret, want := range map[string]string{
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==\n": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=\n",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":                                                          "", "": "", "whsk_AAAA": "",
	} {
		var out bytes.Buffer
		root := Root()
		root.SetArgs([]string{"profile", "public-key"})
		root.SetIn(strings.NewReader(secret))
		root.SetOut(&out)
		err := root.ExecuteContext(t.Context())
		if out.String() != want || (err == nil) != (want != "") {
			t.Errorf("%.8q: %q, %v", secret, out.String(), err)
		}
		if err != nil && len(secret) > 8 && strings.Contains(err.Error(), secret[6:]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestProfileListShowFormat(t *testing.T) {
	out, code, says := command(t, "profile", "list", "--profile-dir", exampleDir)
	if code != exit.OK || strings.Count(out, "\n") < 9 || !strings.Contains(out, "stripe-like ") {
		t.Errorf("list: %d %s\n%s", code, says, out)
	}
	out, _, _ = command(t, "profile", "list", "--json")
	var list []profileMeaning
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 7 || !list[0].Builtin || list[0].Retry == "" {
		t.Errorf("list --json: %v\n%s", err, out)
	}
	shown, code, _ := command(t, "profile", "show", "standard")
	if code != exit.OK || !strings.Contains(shown, "\nname: standard\n") {
		t.Errorf("show: %d\n%s", code, shown)
	}
	if _, code, says := command(t, "profile", "show", "nope"); code != exit.Usage || !strings.Contains(says, "the profiles are paysway") {
		t.Errorf("show nope: %d %s", code, says)
	}
	if _, code, _ := command(t, "profile", "show"); code != exit.Usage {
		t.Errorf("show without a name: %d", code)
	}
	// What is shown is a start for a file of one's own.
	dir := t.TempDir()
	servertest.WriteFile(t, dir, "mine.yaml", strings.Replace(shown, "name: standard", "name: mine", 1))
	if out, code, _ := command(t, "profile", "check", filepath.Join(dir, "mine.yaml")); code != exit.OK {
		t.Errorf("check of a renamed copy: %d\n%s", code, out)
	}
	if out, code, _ := command(t, "profile", "format"); code != exit.OK || !strings.HasPrefix(out, "# Profiles\n") {
		t.Errorf("format: %d\n%s", code, out)
	}
	if _, code, says := command(t, "profile", "list", "--profile-dir", dir+"/none"); code != exit.Usage || !strings.Contains(says, "no *.yaml files") {
		t.Errorf("list of nowhere: %d %s", code, says)
	}
}
