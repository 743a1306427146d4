package server

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/seal"
)

// The master key comes from one place. The text of a key is in no error.
func TestMasterKeyComesFromOnePlace(t *testing.T) {
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", seal.KeySize)))
	for name, c := range map[string]struct {
		variable, commandVariable, file, command string
		from                                     string
		refused                                  error
		twice                                    bool
	}{
		"neither":          {},
		"a file":           {file: "/a"},
		"variable":         {variable: text, from: "POSTHORN_MASTER_KEY"},
		"command":          {command: "echo " + text, from: "of --master-key-command"},
		"its variable":     {commandVariable: "echo " + text, from: "of --master-key-command"},
		"short":            {variable: text[:20], refused: seal.ErrKeySize},
		"failing":          {command: "echo " + text + "; exit 1", refused: seal.ErrCommand},
		"variable, file":   {variable: text, file: "/a", twice: true},
		"command, file":    {command: "echo " + text, file: "/a", twice: true},
		"variable,command": {variable: text, command: "echo " + text, twice: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POSTHORN_MASTER_KEY", c.variable)
			t.Setenv("POSTHORN_MASTER_KEY_COMMAND", c.commandVariable)
			t.Setenv("POSTHORN_MASTER_KEY_FILE", "")
			keys, from, err := MasterKeyElsewhere(t.Context(), c.file, c.command)
			if from != c.from || (keys != nil) != (c.from != "") || (err != nil) != (c.twice || c.refused != nil) || c.refused != nil && !errors.Is(err, c.refused) {
				t.Fatalf("%v, %q, %v", keys, from, err)
			}
			if err != nil && (strings.Contains(err.Error(), text[:20]) || c.twice != strings.Contains(err.Error(), "more than once")) {
				t.Error(err)
			}
		})
	}
}
