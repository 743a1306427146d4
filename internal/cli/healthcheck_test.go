package cli

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

func TestHealthcheck(t *testing.T) {
	s := newShell(t)
	if out, errOut, code := invoke(t, "", "healthcheck"); code != exit.OK || out != "ready\n" {
		t.Errorf("a ready server: %d %s%s", code, out, errOut)
	}
	t.Setenv("POSTHORN_URL", "")
	t.Setenv("POSTHORN_LISTEN", "0.0.0.0:"+s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	if _, errOut, code := invoke(t, "", "healthcheck"); code != exit.OK {
		t.Errorf("found by POSTHORN_LISTEN: %d %s", code, errOut)
	}
	s.Node.Linger(0) // says that it is not ready
	if _, errOut, code := invoke(t, "", "healthcheck"); code != exit.Failed || !strings.Contains(errOut, "shutting_down") {
		t.Errorf("a server that stops: %d %s", code, errOut)
	}
	if _, _, code := invoke(t, "", "healthcheck", "--server", "http://127.0.0.1:1"); code != exit.Failed {
		t.Errorf("nobody there: %d", code)
	}
}
