// Command noskip reads the output of "go test -json" and judges it more strictly than go
// test does. A skipped test, a package that did not build and a run without any test are
// failures, too. It writes the complete output to a log, prints what failed and a short
// digest, and appends the counts to a tally.
//
// It decides the result of a lane. It never runs tests itself and never discards output:
// everything that it does not print is in the log.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// record is one line of "go test -json" (see "go doc test2json").
type record struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

// verdict accumulates the result of a lane.
type verdict struct {
	passed, failed, skipped int
	packages                int
	output                  map[string][]string // of tests whose output is still needed, by package and test
	troubles                []string            // names, for the digest
	digest                  []string            // lines that tests marked as figures
}

// figureMark starts a line of test output that belongs in the digest.
const figureMark = "FIGURE "

func main() {
	lane := flag.String("lane", "tests", "name of the lane, for the summary")
	logPath := flag.String("log", "", "file that takes the whole output")
	tally := flag.String("tally", "", "file to which \"passed failed\" is appended")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *lane, *logPath, *tally); err != nil {
		fmt.Fprintln(os.Stderr, "noskip:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, lane, logPath, tally string) error {
	var log io.Writer = io.Discard
	if logPath != "" {
		f, err := os.Create(logPath)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		defer f.Close()
		log = f
	}
	v, err := judge(in, log, out)
	if err != nil {
		return err
	}
	for _, line := range v.digest {
		fmt.Fprintln(out, "   ", line)
	}
	bad := v.failed + v.skipped
	if v.passed+bad == 0 {
		v.troubles = append(v.troubles, "no test ran at all")
		bad = 1
	}
	fmt.Fprintf(out, "%s: %d passed, %d failed, %d skipped, %d packages\n", lane, v.passed, v.failed, v.skipped, v.packages)
	for _, name := range v.troubles {
		fmt.Fprintln(out, "  not good:", name)
	}
	if tally != "" {
		f, err := os.OpenFile(tally, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open tally: %w", err)
		}
		fmt.Fprintf(f, "%d %d\n", v.passed, bad)
		if err := f.Close(); err != nil {
			return fmt.Errorf("write tally: %w", err)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%s: %d of %d not good", lane, bad, v.passed+bad)
	}
	return nil
}

// judge reads the records. It writes the output of failed tests to out as soon as a failure
// is known.
func judge(in io.Reader, log, out io.Writer) (*verdict, error) {
	v := &verdict{output: map[string][]string{}}
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var r record
			if json.Unmarshal(line, &r) != nil {
				// Not a record, but a message of a tool, for example about go.mod.
				fmt.Fprint(log, string(line))
				fmt.Fprint(out, string(line))
			} else {
				v.take(r, log, out)
			}
		}
		if err == io.EOF {
			return v, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read test output: %w", err)
		}
	}
}

func (v *verdict) take(r record, log, out io.Writer) {
	if r.Package == "" {
		r.Package = r.ImportPath
	}
	key := r.Package + " " + r.Test
	switch r.Action {
	case "output", "build-output":
		fmt.Fprint(log, r.Output)
		v.output[key] = append(v.output[key], r.Output)
		if _, figure, ok := strings.Cut(r.Output, figureMark); ok {
			v.digest = append(v.digest, strings.TrimSpace(figure))
		}
	case "pass":
		if r.Test != "" {
			v.passed++
		} else {
			v.packages++
		}
		delete(v.output, key)
	case "skip":
		if r.Test != "" {
			v.skipped++
			v.trouble(r, "skipped", key, out)
		}
	case "fail", "build-fail":
		// A package fails with each of its tests. It counts separately only if no test failed: it
		// did not build, panicked outside a test or timed out.
		if r.Test != "" {
			v.failed++
			v.trouble(r, "failed", key, out)
			return
		}
		own := func(name string) bool { return strings.HasPrefix(name, r.Package+" ") }
		if !slices.ContainsFunc(v.troubles, own) {
			v.failed++
			v.trouble(r, "failed as a whole", key, out)
		}
	}
}

func (v *verdict) trouble(r record, what, key string, out io.Writer) {
	v.troubles = append(v.troubles, key+" "+what)
	for _, line := range v.output[key] {
		fmt.Fprint(out, line)
	}
	delete(v.output, key)
}
