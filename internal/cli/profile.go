package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

func newProfile() *cobra.Command {
	cmd := &cobra.Command{
		Use: "profile", Short: "List, show and check profiles (wire formats)", Args: NoArgs,
		Long: `A profile is a YAML file that defines a wire format and its delivery policy. Four
profiles are built in. The server reads others from its --profile-dir.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProfileList(), newProfileShow(), newProfileCheck(), newProfileFormat(), newPublicKey())
	return cmd
}

// profileDir adds the flag --profile-dir, and returns a function that reads the profiles.
func profileDir(cmd *cobra.Command) func() (*profile.Set, error) {
	dir := cmd.Flags().String("profile-dir", envOr("POSTHORN_PROFILE_DIR", ""), "directory with additional profiles (POSTHORN_PROFILE_DIR)")
	return func() (*profile.Set, error) {
		set := profile.Builtin()
		if *dir == "" {
			return set, nil
		}
		list, err := profile.ReadDir(*dir)
		if err == nil {
			err = set.Reload(list)
		}
		if err != nil {
			return nil, exit.Usagef("--profile-dir: %w", err)
		}
		return set, nil
	}
}

func newProfileList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List all profiles", Args: NoArgs}
	read := profileDir(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		set, err := read()
		if err != nil {
			return err
		}
		list := []profileMeaning{}
		for _, name := range set.Names() {
			p, _ := set.Get(name)
			m, err := meaning(p)
			if err != nil {
				return err
			}
			list = append(list, m)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		var rows []json.RawMessage
		for _, m := range list {
			m.Hash = m.Hash[:12]
			row, err := json.Marshal(m)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return newTable(cmd.OutOrStdout(), []string{"name", "builtin", "hash", "description"}, false).print(rows, true)
	}
	return cmd
}

func newProfileShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Print the file of a profile", Args: oneArg("the name of a profile")}
	read := profileDir(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := read()
		if err != nil {
			return err
		}
		p, ok := set.Get(args[0])
		if !ok {
			return exit.Usagef("there is no profile %q; the profiles are %s", args[0], strings.Join(set.Names(), ", "))
		}
		_, err = cmd.OutOrStdout().Write(p.Text())
		return err
	}
	return cmd
}

func newProfileFormat() *cobra.Command {
	return &cobra.Command{
		Use: "format", Short: "Print the reference of the profile file format, in Markdown", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), profile.Reference())
			return err
		},
	}
}

func newPublicKey() *cobra.Command {
	return &cobra.Command{
		Use: "public-key", Short: "Print the public key of an ed25519 secret", Args: NoArgs,
		Long: `Read an ed25519 secret (whsk_...) from standard input and print its public key
(whpk_...), which receivers verify signatures with.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 4096))
			if err != nil {
				return fmt.Errorf("read secret: %w", err)
			}
			public, err := webhook.PublicKey(strings.TrimSpace(string(text)))
			if err != nil {
				return exit.Usagef("standard input: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), public)
			return nil
		},
	}
}

func newProfileCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "Check and describe profile files",
		Long: `Check each profile file. For an invalid file, print FILE:LINE: REASON. For a valid one,
print a sample request, how it is signed, and when it is retried.

Exit codes: 0 all files are valid, 2 a file is invalid.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exit.Usagef("%s needs at least one FILE", cmd.CommandPath())
			}
			return nil
		},
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON: a list with one object per file")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		verdicts, bad := checkProfiles(files)
		if *asJSON {
			if err := printJSON(cmd.OutOrStdout(), verdicts); err != nil {
				return err
			}
		} else {
			printVerdicts(cmd.OutOrStdout(), verdicts)
		}
		if bad > 0 {
			return exit.Usagef("%d of %d files are invalid", bad, len(files))
		}
		return nil
	}
	return cmd
}

// verdict is the result for one file.
type verdict struct {
	File    string          `json:"file"`
	OK      bool            `json:"ok"`
	Line    int             `json:"line,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Profile *profileMeaning `json:"profile,omitempty"`
}

// profileMeaning is what a profile sends and when.
type profileMeaning struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Builtin     bool     `json:"builtin"`
	Hash        string   `json:"hash"`
	Headers     []string `json:"headers"` // of a sample request, "Name: value"
	Body        string   `json:"body"`
	Signatures  []string `json:"signatures"`
	Secret      string   `json:"secret"`
	Success     string   `json:"success"`
	Retry       string   `json:"retry"`
	Timeout     string   `json:"timeout"`
	Disabling   string   `json:"disabling"`
	URLs        string   `json:"urls"`
	Warnings    []string `json:"warnings,omitempty"`
}

func meaning(p *profile.Profile) (profileMeaning, error) {
	headers, body, err := p.Sample()
	if err != nil {
		return profileMeaning{}, fmt.Errorf("make a sample of %s: %w", p.Name(), err)
	}
	w := p.Words()
	m := profileMeaning{
		Name: p.Name(), Description: p.Description(), Builtin: p.Builtin(), Hash: fmt.Sprintf("%x", p.Hash()),
		Body: string(body), Signatures: w.Signatures, Secret: w.Secret, Success: w.Success, Retry: w.Retry,
		Timeout: w.Timeout, Disabling: w.Disabling, URLs: w.URLs, Warnings: w.Warnings,
	}
	for _, h := range headers {
		m.Headers = append(m.Headers, h.Name+": "+h.Value)
	}
	return m, nil
}

func checkProfiles(files []string) (verdicts []verdict, bad int) {
	by := map[string]string{} // names taken, by what
	for _, name := range profile.Builtin().Names() {
		by[name] = "a built-in profile"
	}
	for _, file := range files {
		v := checkProfile(file, by)
		if v.OK {
			by[v.Profile.Name] = file
		} else {
			bad++
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, bad
}

func checkProfile(file string, by map[string]string) verdict {
	p, err := profile.ReadFile(file)
	if err == nil && by[p.Name()] != "" {
		err = profile.NameTaken(file, p, by[p.Name()])
	}
	if err == nil {
		var m profileMeaning
		if m, err = meaning(p); err == nil {
			return verdict{File: file, OK: true, Profile: &m}
		}
	}
	v := verdict{File: file, Line: 1, Reason: strings.TrimPrefix(err.Error(), file+": ")}
	if mistake, ok := errors.AsType[*profile.FileError](err); ok {
		v.Line, v.Reason = mistake.Line, mistake.Reason
	}
	if missing, ok := errors.AsType[*fs.PathError](err); ok {
		v.Reason = missing.Err.Error()
	}
	return v
}

func printVerdicts(out io.Writer, verdicts []verdict) {
	for i, v := range verdicts {
		if !v.OK {
			fmt.Fprintf(out, "%s:%d: %s\n", v.File, v.Line, v.Reason)
			continue
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		m := v.Profile
		fmt.Fprintf(out, "%s: ok, profile %s\n", v.File, m.Name)
		if m.Description != "" {
			fmt.Fprintf(out, "  %s\n", m.Description)
		}
		fmt.Fprintln(out, "\n  A test event, signed with a secret of zeros:")
		for _, h := range m.Headers {
			fmt.Fprintf(out, "    %s\n", h)
		}
		fmt.Fprintf(out, "\n    %s\n\n", m.Body)
		for _, s := range m.Signatures {
			fmt.Fprintf(out, "  %s\n", s)
		}
		for _, s := range []string{m.Secret, m.Success, m.Retry, m.Timeout, m.Disabling, m.URLs} {
			fmt.Fprintf(out, "  %s\n", s)
		}
		for _, s := range m.Warnings {
			fmt.Fprintf(out, "  Warning: %s\n", PlainText(s))
		}
	}
}

func printJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// oneArg requires exactly one argument, described by what.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return exit.Usagef("%s needs %s", cmd.CommandPath(), what)
		}
		return nil
	}
}
