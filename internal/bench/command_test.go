package bench

import (
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

// A flag that would have no effect is refused before anything is measured.
func TestFlagsWithoutEffectAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--no-answers":            "--no-answers: requires --batch",
		"--batch 10 --mount svix": "leave out --nodes and --mount",
		"--batch 10 --nodes 2":    "leave out --nodes and --mount",
		"--mount other":           "--mount: must be svix",
		"--batch 1001":            "--batch: must be from 0 to 1000",
		"--compare other":         `there is no scenario "other"; the scenarios are endpoints, tenants,`,
		"--compare tls --batch 9": "leave out --batch, --nodes and --mount",
		"--compare tls --data x":  "--compare retained and --data require each other",
		"--compare retained":      "--compare retained and --data require each other",
		"--compare retained --data x --store postgres://x": "leave out --store",
		"reads --deliveries 9999":                          "--deliveries must be at least 10000",
		"reads --rounds -1":                                "--rounds and --publish at least 0",
		"reads --publish -1":                               "--rounds and --publish at least 0",
		"viewers --viewers 0":                              "each other number at least 1",
	} {
		cmd := Command()
		cmd.SetArgs(strings.Fields(args))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		var refused *exit.Error
		if err := cmd.ExecuteContext(t.Context()); !errors.As(err, &refused) || refused.Code != exit.Usage || !strings.Contains(refused.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
