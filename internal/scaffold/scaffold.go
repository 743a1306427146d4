// Package scaffold generates webhook receivers to start from: a handler that verifies
// requests, for a wire format and a language. It tests the handler with a real delivery.
package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/examples/receivers"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
)

// language is a programming language for which a handler can be generated.
type language struct {
	folder  string            // in examples/receivers
	runtime string            // the program that runs it
	more    map[string]string // further files to write
	command func(port string) []string
}

var languages = map[string]language{
	"go":     {"gostd", "go", map[string]string{"go.mod": "module receiver\n\ngo 1.24\n"}, func(string) []string { return []string{"go", "run", "."} }},
	"node":   {"node", "node", nil, func(string) []string { return []string{"node", "receiver.mjs"} }},
	"python": {"python", "python3", nil, func(string) []string { return []string{"python3", "receiver.py"} }},
	"php":    {"php", "php", nil, func(port string) []string { return []string{"php", "-S", "127.0.0.1:" + port, "receiver.php"} }},
	"java":   {"java", "java", nil, func(string) []string { return []string{"java", "Receiver.java"} }},
}

// languageNames lists the languages in the order in which they are shown.
var languageNames = []string{"go", "node", "python", "php", "java"}

// Command returns the command "posthorn init".
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "init", Short: "Write code to begin with", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newReceiver())
	return cmd
}

// plan holds the values of the flags.
type plan struct {
	lang, profile, dir string
	noRun              bool
}

func newReceiver() *cobra.Command {
	p := &plan{}
	cmd := &cobra.Command{
		Use: "receiver DIR", Short: "Write a handler that verifies webhooks, and try it",
		Long: `Write a handler for a wire format into a new or empty directory: it verifies each request
over its raw bytes, handles each event once and answers at once. It needs nothing but
its language.

Then try it: a server with a throw-away store sends it an event, signed, and one that is
signed with another secret, which it has to refuse. Where the language is not installed,
or with --no-run, the files are only written.

Exit codes: 0 written and, if it could run, verified; 1 it did not do what it should;
2 wrong use.`,
		Example: `  posthorn init receiver --lang node hooks
  posthorn init receiver --lang go --profile paysway ./receiver`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit.Usagef("%s takes one DIR", cmd.CommandPath())
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.lang, "lang", "", "language: "+strings.Join(languageNames, ", "))
	f.StringVar(&p.profile, "profile", "standard", "wire format: "+strings.Join(profile.Builtin().Names(), ", "))
	f.BoolVar(&p.noRun, "no-run", false, "only write the files")
	for flag, values := range map[string][]string{"lang": languageNames, "profile": profile.Builtin().Names()} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.dir = args[0]
		l, known := languages[p.lang]
		if !known {
			return exit.Usagef("--lang: %q is not one of %s", p.lang, strings.Join(languageNames, ", "))
		}
		if names := profile.Builtin().Names(); !slices.Contains(names, p.profile) {
			return exit.Usagef("--profile: %q is not one of %s", p.profile, strings.Join(names, ", "))
		}
		out := cmd.OutOrStdout()
		names, err := p.write(l)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "Wrote %s in %s.\n", strings.Join(names, ", "), p.dir)
		if !p.noRun {
			if err := p.try(cmd.Context(), out, l); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "\nRun it with the secret of your endpoint, and have events forwarded to it:\n  cd %s && %s\n  posthorn listen --forward http://localhost:3000/hook\n", p.dir, p.runLine(l))
		return nil
	}
	return cmd
}

// runLine returns the command line that starts the handler by hand.
func (p *plan) runLine(l language) string {
	return "PROFILE=" + p.profile + " SECRET=... PORT=3000 " + strings.Join(l.command("3000"), " ")
}

// write writes the files into the directory, which must be empty.
func (p *plan) write(l language) (names []string, err error) {
	switch entries, err := os.ReadDir(p.dir); {
	case err == nil && len(entries) > 0:
		return nil, exit.Usagef("%s is not empty; name a new directory", p.dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, exit.Usagef("DIR: %w", err)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, exit.Usagef("DIR: %w", err)
	}
	files := map[string]string{}
	found, err := receivers.Files.ReadDir(l.folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range found {
		text, err := receivers.Files.ReadFile(path.Join(l.folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = string(text)
	}
	for name, text := range l.more {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
