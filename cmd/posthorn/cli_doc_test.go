package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var updateCLI = flag.Bool("update-cli", false, "regenerate docs/cli.md")

const cliPage = "../../docs/cli.md"

// docs/cli.md is generated from the commands.
func TestCommandLinePage(t *testing.T) {
	for _, name := range os.Environ() { // defaults may come from the environment
		if name, _, _ := strings.Cut(name, "="); strings.HasPrefix(name, "POSTHORN_") {
			t.Setenv(name, "")
		}
	}
	root := newCommands()
	root.InitDefaultCompletionCmd()
	page := commandPage(root)
	if *updateCLI {
		if err := os.WriteFile(cliPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != page {
		t.Errorf("docs/cli.md does not match the commands; regenerate it: go test ./cmd/posthorn -run TestCommandLinePage -update-cli")
	}
	// Control: one more flag and the page would differ.
	root.Commands()[0].Flags().Bool("planted", false, "planted")
	if commandPage(root) == page {
		t.Error("the page does not depend on the flags")
	}
}

const cliIntro = `# The command line

<!-- Made by "go test ./cmd/posthorn -run TestCommandLinePage -update-cli"; do not edit. -->

This page is the output of ` + "`posthorn COMMAND --help`" + ` for every command.

- Commands that call the API take the server from ` + "`--server` or `POSTHORN_URL`" + ` and the key from ` + "`--key`, `POSTHORN_KEY` or\n  `POSTHORN_KEY_FILE`" + `. The key decides the mode, test or live.
- ` + "`posthorn login`" + ` saves a server and a key as a context, one for each server and mode. ` + "`posthorn context use`" + ` switches between them, and ` + "`--context`" + `
  selects one for a single command. A context is used only if no flag and no variable names a server or a key, so its key is sent to its own server only.
  The file is ` + "`~/.config/posthorn/contexts.json`" + `. A file that other users may read is an error.
- Their tables have no colour and fit the terminal, or 80 characters. ` + "`--wide`" + ` shows all columns in full. ` + "`--json`" + ` prints the response of the server, for
  scripts. With ` + "`--all`" + `, the rows of all pages are joined into one response of the same format.
- Commands that delete ask for confirmation. Scripts use ` + "`--yes`" + `; without it and without a terminal the exit code is 2.
- A secret can be given literally, as ` + "`@FILE`, or as `-`" + ` for standard input. The last two keep it out of the process list.
- Durations are written ` + "`30s`, `1h30m`, `30d` or `1d12h`" + `; a day has 24 hours.
- JSON can be given literally, as ` + "`@FILE`, or as `-`" + ` for standard input. ` + "`--body`" + ` takes a whole request body; other flags override
  its fields.
- Exit codes: 0 success, 1 failure, 2 wrong usage, 20 rejected by the server, 21 no response from a server; [operating.md](operating.md)
  lists all of them. Errors are printed to standard error in one line, with the next step if there is one.
- ` + "`posthorn completion bash`" + ` (zsh, fish, powershell) prints the script for your shell. It also completes IDs from the server (at most
  50 rows, within a second):
  ` + "`source <(posthorn completion bash)`" + `.
`

// commandPage renders the whole tree.
func commandPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(cliIntro)
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() {
			continue
		}
		fmt.Fprintf(&b, "\n## posthorn %s\n", cmd.Name())
		renderCommand(&b, cmd)
		if cmd.Name() == "completion" { // its own long texts are of no use here
			continue
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "\n### %s\n", sub.CommandPath())
				renderCommand(&b, sub)
			}
		}
	}
	return b.String()
}

func renderCommand(b *strings.Builder, cmd *cobra.Command) {
	text := cmd.Short + "."
	if cmd.Long != "" && cmd.Name() != "completion" {
		text = cmd.Long
	}
	fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(text))
	if !cmd.HasAvailableSubCommands() || cmd.HasAvailableLocalFlags() && cmd.HasExample() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(b, "\nFor example:\n\n```\n%s\n```\n", strings.TrimRight(cmd.Example, "\n"))
	}
	var rows []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		usage := f.Usage
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += fmt.Sprintf(" (default `%s`)", f.DefValue)
		}
		rows = append(rows, fmt.Sprintf("| `--%s` | %s |\n", f.Name, strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(usage)))
	})
	if len(rows) > 0 {
		b.WriteString("\n| flag | |\n| --- | --- |\n" + strings.Join(rows, ""))
	}
}
