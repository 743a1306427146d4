package server

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

// Options about operational events are checked at start, and no message or print shows the
// password.
func TestAlertOptions(t *testing.T) {
	mail := []string{"--smtp-url", "smtp://ph:hunter2@mail.example.com", "--smtp-from", "a@example.com"}
	for name, c := range map[string]struct {
		args []string
		want string // part of the error; empty: none
	}{
		"all":                {append(mail, "--smtp-to", "b@example.com,c@example.com", "--alert-backlog", "0", "--alert-delay", "1d", "--alert-disk", "80.5"), ""},
		"no sender":          {mail[:2], "--smtp-from is missing"},
		"no server":          {mail[2:], "--smtp-url is missing"},
		"nobody's server":    {[]string{"--smtp-to", "b@example.com"}, "--smtp-url is missing"},
		"scheme":             {[]string{"--smtp-url", "https://ph:hunter2@mail.example.com", "--smtp-from", "a@example.com"}, "smtp://"},
		"password in clear":  {[]string{"--smtp-url", "smtp://ph:hunter2@mail.example.com?tls=none", "--smtp-from", "a@example.com"}, "unencrypted"},
		"not a URL":          {[]string{"--smtp-url", "smtp://ph:hunter2@mail example.com", "--smtp-from", "a@example.com"}, "%XX"},
		"sender with header": {append(mail[:2:2], "--smtp-from", "a@example.com\r\nBcc: x@example.com"), "one plain e-mail address"},
		"sender with name":   {append(mail[:2:2], "--smtp-from", "Ops <a@example.com>"), "one plain e-mail address"},
		"address":            {append(mail, "--smtp-to", "nobody"), "one plain e-mail address"},
		"many addresses":     {append(mail, "--smtp-to", strings.Repeat("a@example.com,", 10)+"a@example.com"), "at most 10"},
		"backlog":            {[]string{"--alert-backlog", "100001"}, "alert-backlog"},
		"delay":              {[]string{"--alert-delay", "10ms"}, "alert-delay"},
		"disk":               {[]string{"--alert-disk", "100"}, "alert-disk"},
		"disk not a number":  {[]string{"--alert-disk", "NaN"}, "alert-disk"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{}
			f := cfg.Flags()
			if err := f.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			err := cfg.Load(f, "")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			var shown strings.Builder
			ShowConfig(&shown, f)
			if err != nil {
				shown.WriteString(err.Error())
			}
			if strings.Contains(shown.String(), "hunter2") {
				t.Errorf("the password is shown: %s", shown.String())
			}
		})
	}
}

// The addresses of --smtp-to count among the operational endpoints of the operator. If there
// are too many, the server does not start. Control: without the option it does.
func TestMailEndpointsAreBounded(t *testing.T) {
	dir := t.TempDir()
	start := func(more ...string) (*Node, error) {
		t.Helper()
		c, err := loaded(t, "", append([]string{"--listen", "127.0.0.1:0", "--data", dir, "--dev", "--operator-key", mountKey}, more...)...)
		if err != nil {
			t.Fatal(err)
		}
		return Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	}
	n, err := start()
	if err != nil {
		t.Fatal(err)
	}
	api := &client.Client{URL: n.URL(), Key: mountKey}
	for i := range hook.MaxOperational {
		if _, err := api.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: hook.OperatorTenant, URL: fmt.Sprintf("http://127.0.0.1:65535/%d", i), EventTypes: []string{"*"}, Operational: true}); err != nil {
			t.Fatal(err)
		}
	}
	n.Stop(context.Background())
	if n, err = start("--smtp-url", "smtp://127.0.0.1:1", "--smtp-from", "a@example.com", "--smtp-to", "b@example.com"); err == nil || !strings.Contains(err.Error(), "there are 10 operational endpoints") {
		t.Errorf("started with too many: %v", err)
		if err == nil {
			n.Stop(context.Background())
		}
	}
	if n, err = start(); err != nil {
		t.Fatal(err)
	}
	n.Stop(context.Background())
}
