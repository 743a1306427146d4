package bench

import (
	"context"
	"math"
	"os"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/cli"
)

// The benchmark starts its own binary as server and receiver, here that of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "bench" {
		os.Exit(m.Run())
	}
	cmd := Command()
	cmd.SetArgs(os.Args[2:])
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		os.Exit(1)
	}
}

// One run with every part of a setting: each event arrives at both endpoints of its tenant,
// over TLS, from a server with a slow disk and dead endpoints beside it.
func TestARunMeasuresEachFigure(t *testing.T) {
	t.Chdir(t.TempDir())
	p := &benchPlan{publishers: 4, endpoints: 3, progress: cli.NewProgress(os.Stderr, 0)}
	rig, err := newRig(t.Context(), p, setting{cold: true, endpoints: 2, all: true, size: 2000, tls: true, sync: time.Millisecond, flood: flood{rate: 20, endpoints: 20, dead: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer rig.close()
	r, err := rig.run(t.Context(), 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for f, v := range r {
		if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 && figure(f) != serverCPU && figure(f) != deliveryCPU && figure(f) != allCPU && figure(f) != repeated { // counted in steps of 10 ms
			t.Errorf("%s is %v", figureNames[f], v)
		}
	}
	stats, err := rig.receiverTimes(t.Context())
	if err != nil || stats.Count != rig.due || r[repeated] != 0 || rig.due%2 != 0 || stats.Last < stats.P50 {
		t.Errorf("%d deliveries were due, received: %+v, %v", rig.due, stats, err)
	}
}

// The median of ratios is that of the pairs, and a figure that was not measured stays unknown.
func TestMediansOfRatios(t *testing.T) {
	base, other := result{accepted: 10, delivered: 4}, result{accepted: 5, delivered: 4}
	base[perCommit], other[perCommit] = math.NaN(), 2
	m := medians([]result{base.over(base), other.over(base), other.over(base)})
	if m[accepted] != 0.5 || m[delivered] != 1 || !math.IsNaN(m[perCommit]) {
		t.Errorf("%v", m)
	}
}

// Each scenario has a base and something to compare with it, under names that differ.
func TestScenariosCompare(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios {
		if len(s.settings) < 2 || s.about == "" || seen[s.name] {
			t.Errorf("scenario %q compares nothing, says nothing, or is there twice", s.name)
		}
		seen[s.name] = true
		names := map[string]bool{}
		for _, one := range s.settings {
			if names[one.name] || one.name == "" {
				t.Errorf("scenario %s has two settings %q", s.name, one.name)
			}
			names[one.name] = true
		}
	}
}
