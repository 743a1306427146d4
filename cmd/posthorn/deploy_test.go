package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/server"
)

const deployDir = "../../deploy"

var (
	comment    = regexp.MustCompile(`(?s)<!--.*?-->`)
	variable   = regexp.MustCompile(`\bPOSTHORN_[A-Z0-9_]+`)
	flagName   = regexp.MustCompile("(?:^|[\\s`\"'(])--([a-z][a-z0-9-]*)")
	metricName = regexp.MustCompile(`\bposthorn_[a-z_]+`)
)

// foreignFlags belong to other programs that the examples run.
var foreignFlags = map[string]bool{
	"build": true, "detach": true, // docker compose
	"username": true, "dbname": true, // pg_isready
	"system": true, "home-dir": true, "shell": true, // useradd
	"from": true, "chown": true, "interval": true, "timeout": true, "start-period": true, // Dockerfile
}

// strangers are the options in a text that Posthorn does not have.
func strangers(text string, known map[string]bool) (found []string) {
	text = comment.ReplaceAllString(text, "")
	for _, name := range variable.FindAllString(text, -1) {
		found = append(found, server.UnknownVariables((&server.Config{}).Flags(), []string{name + "="})...)
	}
	for _, m := range flagName.FindAllStringSubmatch(text, -1) {
		if !known[m[1]] && !foreignFlags[m[1]] {
			found = append(found, "--"+m[1])
		}
	}
	return found
}

// missingMetrics are those in a text that no page of ours shows.
func missingMetrics(text, source string) (found []string) {
	for _, name := range metricName.FindAllString(text, -1) {
		if !strings.Contains(source, `"`+name+`"`) {
			found = append(found, name)
		}
	}
	return found
}

func allFlags(cmd *cobra.Command, known map[string]bool) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	for _, sub := range cmd.Commands() {
		allFlags(sub, known)
	}
}

// The files in deploy/ and the page about scale name options and metrics that exist.
// They cannot be run here; this and the readers of their own formats is what keeps
// them honest.
func TestDeployNamesWhatExists(t *testing.T) {
	known := map[string]bool{"help": true}
	allFlags(newCommands(), known)
	source, err := os.ReadFile("../../internal/server/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"../../docs/scale.md"}
	err = filepath.WalkDir(deployDir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.Name() == "secrets" {
			return filepath.SkipDir
		}
		if err == nil && !e.IsDir() {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil || len(pages) < 6 {
		t.Fatalf("%d files: %v", len(pages), err)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strangers(string(text), known) {
			t.Errorf("%s names %s, which is no option", path, name)
		}
		if strings.HasSuffix(path, ".md") {
			for _, name := range missingMetrics(string(text), string(source)) {
				t.Errorf("%s names the metric %s, which there is not", path, name)
			}
		}
	}
	// Control: the same search finds what is wrong.
	wrong := "POSTHORN_STORES=x serve --node-leese 3s; `--allow-htp`"
	if got := strangers(wrong, known); len(got) != 3 {
		t.Errorf("of three wrong names the search found %q", got)
	}
	if got := missingMetrics("`posthorn_node`", string(source)); len(got) != 1 {
		t.Errorf("of one wrong metric the search found %q", got)
	}
}

// A node that is stopped gets longer than it gives its attempts, and the nodes of the
// compose file have all secrets that their variables name and a directory each.
func TestDeployStopsAndSecrets(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
			Secrets     []string          `yaml:"secrets"`
			Volumes     []string          `yaml:"volumes"`
			Grace       string            `yaml:"stop_grace_period"`
		} `yaml:"services"`
		Secrets map[string]any `yaml:"secrets"`
		Volumes map[string]any `yaml:"volumes"`
	}
	text, err := os.ReadFile(filepath.Join(deployDir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	nodes, dirs := 0, map[string]bool{}
	for name, s := range file.Services {
		if !strings.HasPrefix(name, "node") {
			continue
		}
		nodes++
		if err := graceful(s.Grace, s.Environment["POSTHORN_DRAIN_DELAY"], s.Environment["POSTHORN_SHUTDOWN_TIMEOUT"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for variable, value := range s.Environment {
			secret, ok := strings.CutPrefix(value, "/run/secrets/")
			if _, declared := file.Secrets[secret]; ok && (!declared || !strings.Contains(strings.Join(s.Secrets, " "), secret)) {
				t.Errorf("%s: %s names the secret %q, which the service does not get", name, variable, secret)
			}
		}
		dir, _, _ := strings.Cut(strings.Join(s.Volumes, " "), ":")
		if _, declared := file.Volumes[dir]; !declared || dirs[dir] {
			t.Errorf("%s: %q is no directory of its own", name, dir)
		}
		dirs[dir] = true
	}
	if nodes != 3 {
		t.Errorf("%d nodes", nodes)
	}

	unit, err := os.ReadFile(filepath.Join(deployDir, "systemd", "posthorn@.service"))
	if err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(deployDir, "systemd", "nodes.env"))
	if err != nil {
		t.Fatal(err)
	}
	if err := graceful(setting(unit, "TimeoutStopSec")+"s", setting(env, "POSTHORN_DRAIN_DELAY"), setting(env, "POSTHORN_SHUTDOWN_TIMEOUT")); err != nil {
		t.Errorf("unit: %v", err)
	}
	if graceful("40s", "5s", "35s") == nil || graceful("", "5s", "35s") == nil || graceful("60s", "", "35s") == nil {
		t.Error("control: a grace that is too short or missing passes")
	}
}

// graceful checks that the grace leaves five seconds after what a stop may take.
func graceful(grace string, takes ...string) error {
	have, err := time.ParseDuration(grace)
	if err != nil {
		return err
	}
	need := 5 * time.Second
	for _, text := range takes {
		part, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		need += part
	}
	if have < need {
		return fmt.Errorf("%v to stop, and it may take %v", have, need)
	}
	return nil
}

// setting returns what a line "name=value" sets.
func setting(text []byte, name string) string {
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
