package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/diagnose"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
)

// verifyPlan holds the flags of verify.
type verifyPlan struct {
	secrets, secretFiles []string
	profile, profileFile string
	at                   string
	entry                int
	ignoreAge, asJSON    bool
}

func newVerify() *cobra.Command {
	p := &verifyPlan{}
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "Verify a captured request and explain why it fails", Args: oneFile,
		Long: `Verify the signature of a captured request with a secret. If it is not valid, name the
cause: a wrong secret, a wrong clock, a re-encoded or truncated body, or a missing,
renamed or duplicate header.

FILE is a raw HTTP request (header lines, an empty line, the body), as "posthorn listen
--save" writes it, a HAR file, or JSON with headers and body. - is standard input. The
body must be byte for byte as received.

The first secret is the receiver's own. Further secrets are tried if it does not match,
as during a rotation.

Exit codes: 0 valid, 1 not valid, 2 unusable input.`,
		Example: `  posthorn verify request.txt --secret-file secret.txt
  posthorn verify - --secret whsec_... --at 2026-04-24T10:31:40Z < request.txt
  posthorn verify trace.har --entry 3 --profile paysway --secret-file secret.txt --json`,
	}
	f := cmd.Flags()
	f.StringArrayVar(&p.secrets, "secret", nil, "secret as the sender showed it: the secret, @FILE, or - for standard input; repeatable")
	f.StringArrayVar(&p.secretFiles, "secret-file", nil, "file with a secret, which keeps it out of the process list; repeatable")
	f.StringVar(&p.profile, "profile", "standard", "profile (wire format): standard, paysway, paysway-2025-09 or paywise")
	f.StringVar(&p.profileFile, "profile-file", "", "profile file, used instead of --profile")
	f.StringVar(&p.at, "at", "", "time of the receiver's clock: RFC 3339 or Unix seconds (default now)")
	f.IntVar(&p.entry, "entry", 0, "number of the request in a HAR file, from 1; 0 for the first with a body")
	f.BoolVar(&p.ignoreAge, "ignore-age", false, "accept timestamps of any age")
	f.BoolVar(&p.asJSON, "json", false, "print the result as JSON")
	completeFlag(cmd, "profile", profile.Builtin().Names())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.run(cmd.InOrStdin(), cmd.OutOrStdout(), args[0])
	}
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return exit.Usagef("%s takes one file, or - for standard input", cmd.CommandPath())
	}
	return nil
}

func (p *verifyPlan) run(stdin io.Reader, out io.Writer, file string) error {
	q, err := p.question(stdin, file)
	if err != nil {
		return err
	}
	text, err := readFile(stdin, file, diagnose.MaxCapture)
	if err != nil {
		return exit.Usagef("read the capture: %w", err)
	}
	capture, err := diagnose.ReadCapture(text, p.entry)
	if err != nil {
		return exit.Usagef("%s: %w", file, err)
	}
	v := diagnose.Explain(capture, q)
	if err := printVerdict(out, v, q.Profile.Name(), p.asJSON); err != nil {
		return err
	}
	if v.Unusable {
		return exit.Usagef("the secret is not valid for profile %s", q.Profile.Name())
	}
	if !v.Valid() {
		return exit.With(exit.Failed, fmt.Errorf("the request does not verify: %s", v.Cause))
	}
	return nil
}

func (p *verifyPlan) question(stdin io.Reader, file string) (diagnose.Question, error) {
	q := diagnose.Question{Known: profile.Builtin(), Now: time.Now(), IgnoreAge: p.ignoreAge}
	once := &onceReader{in: stdin, used: file == "-"}
	for _, given := range p.secrets {
		secret, err := readSecret(once, "secret", given)
		if err != nil {
			return q, err
		}
		q.Secrets = append(q.Secrets, secret)
	}
	for _, path := range p.secretFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			return q, exit.Usagef("--secret-file: %w", err)
		}
		q.Secrets = append(q.Secrets, strings.TrimRight(string(text), "\r\n"))
	}
	if len(q.Secrets) == 0 {
		return q, exit.Usagef("--secret or --secret-file is required")
	}
	for i, secret := range q.Secrets {
		if strings.TrimSpace(secret) == "" {
			return q, exit.Usagef("secret number %d is empty", i+1)
		}
	}
	var err error
	if p.at != "" {
		if q.Now, err = readInstant(p.at); err != nil {
			return q, exit.Usagef("--at: %w", err)
		}
	}
	q.Profile, err = p.format(q.Known)
	return q, err
}

func (p *verifyPlan) format(known *profile.Set) (*profile.Profile, error) {
	if p.profileFile == "" {
		chosen, ok := known.Get(p.profile)
		if !ok {
			return nil, exit.Usagef("--profile: %q is not one of %s; --profile-file takes a file", p.profile, strings.Join(known.Names(), ", "))
		}
		return chosen, nil
	}
	text, err := os.ReadFile(p.profileFile)
	if err != nil {
		return nil, exit.Usagef("--profile-file: %w", err)
	}
	chosen, err := profile.Load(p.profileFile, text)
	if err != nil {
		return nil, exit.Usagef("--profile-file: %w", err)
	}
	return chosen, nil
}

// readInstant takes RFC 3339 or Unix seconds.
func readInstant(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a time such as 2026-04-24T10:31:40Z nor Unix seconds", text)
	}
	return at, nil
}

// readFile reads a file, or standard input for -, up to a limit and one byte more,
// so that the caller can tell.
func readFile(stdin io.Reader, name string, limit int64) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(stdin, limit+1))
	}
	return readPath(name, limit)
}

func readPath(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, limit+1))
}

func printVerdict(out io.Writer, v diagnose.Verdict, format string, asJSON bool) error {
	if asJSON {
		notes := v.Notes
		if notes == nil {
			notes = []string{}
		}
		return json.NewEncoder(out).Encode(map[string]any{
			"valid": v.Valid(), "cause": v.Cause, "message": v.Message, "notes": notes, "profile": format,
		})
	}
	if v.Valid() {
		fmt.Fprintf(out, "valid (%s)\n", format)
	} else {
		fmt.Fprintf(out, "not valid: %s\n  %s\n", v.Cause, PlainText(v.Message))
	}
	for _, note := range v.Notes {
		fmt.Fprintf(out, "  %s\n", PlainText(note))
	}
	return nil
}
