package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

// A store that has used its budget refuses events and nothing else. Once retention has made
// it small enough, it takes events again. Each change of state is logged once.
func TestDiskBudget(t *testing.T) {
	var said bytes.Buffer
	now := time.Now()
	var jobs []hook.Job
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Keys: testKeys(t), Reserve: -1, DiskBudget: 80e6, Now: func() time.Time { return now }, Synchronous: "off",
		Log:  slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Room: func(*hook.Endpoint) int { return 1000 }, Committed: func(c hook.Commit) { jobs = append(jobs, c.Jobs...) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	scope, _ := waitingFor(t, s, "acme", 0)
	data := append(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), 250_000)...), `"}`...)
	publish := func() error {
		_, _, err := s.Publish(ctx, []hook.NewEvent{{Scope: scope, Type: "a.b", Data: data}, {Scope: scope, Type: "a.b", Data: data}}, profileZero, nil)
		s.upkeep.CheckBudget(ctx)
		return err
	}
	var states []hook.DiskState
	for err = nil; err == nil && len(states) < 500; err = publish() {
		_, state := s.DiskState()
		states = append(states, state)
	}
	if hook.CodeOf(err) != hook.CodeStorageFull || !slices.Contains(states, hook.DiskOK) || !slices.Contains(states, hook.DiskWarning) {
		t.Fatalf("after %d events: %v", 2*len(states), err)
	}
	used, state := s.DiskState()
	if state != hook.DiskFull || used < 80e6 || used > 90e6 {
		t.Errorf("%s at %d bytes", state, used)
	}
	_, _, _, err = s.PublishTest(ctx, scope, hook.ID{}, "a.b", []byte("{}"), hook.ProfileHash{}, nil)
	if hook.CodeOf(err) != hook.CodeStorageFull {
		t.Errorf("a test event: %v", err)
	}
	if err := s.Ready(ctx); err != nil {
		t.Error(err)
	}
	for _, j := range jobs { // outcomes are recorded
		if _, err := s.Settle(ctx, []hook.Settlement{{Job: j, Outcome: hook.Outcome{StartedAt: now, Success: true, Status: 200, Policy: &hook.Policy{}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetRetention(ctx, scope, hook.Retention{Payloads: 0, Answers: hook.NotSet, Events: hook.NotSet}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := s.Housekeep(ctx); err != nil {
		t.Fatal(err)
	}
	s.upkeep.CheckBudget(ctx)
	if err := publish(); err != nil {
		t.Errorf("after retention: %v", err)
	}
	for text, want := range map[string]int{"at 80 MB publishing is refused": 1, "publishing is refused until": 1, "below its disk budget again": 1} {
		if n := strings.Count(said.String(), text); n != want {
			t.Errorf("%q is logged %d times, want %d:\n%s", text, n, want, said.String())
		}
	}
}

// The bytes of days whose events were dropped are forgotten, however many tenants have some.
// The writer finds them by their key.
func TestBytesOfOldDaysAreForgotten(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			o.Keys, o.Reserve, o.Retention, o.Now = testKeys(t), -1, testRetention, func() time.Time { return now }
			s, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			today := now.Unix() / 86400
			err = s.do(t.Context(), "test", 1, func(t *tx) error {
				for i := range 2*upkeep.DaysPage + 1 {
					for _, day := range []int64{1, 2, today} {
						if _, err := t.Exec("test", "INSERT INTO disk_usage (mode, tenant, day, payloads, metadata, attempts) VALUES (?, ?, ?, 1, 1, 1)",
							int64(1+i%2), fmt.Sprintf("t%03d", i), day); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.upkeep.SampleDisk(t.Context()); err != nil {
				t.Fatal(err)
			}
			var old, young int
			if err := s.core.Read.QueryRowContext(t.Context(), "SELECT count(CASE WHEN day < ? THEN 1 END), count(CASE WHEN day = ? THEN 1 END) FROM disk_usage", today, today).Scan(&old, &young); err != nil {
				t.Fatal(err)
			}
			if old != 0 || young != 2*upkeep.DaysPage+1 {
				t.Errorf("%d rows of old days and %d of today are left", old, young)
			}
			if o.Dir == "" {
				return
			}
			if plan := litePlan(t, s, upkeep.Statements()["forget days"]); !strings.Contains(plan, "PRIMARY KEY (mode=? AND tenant=? AND day<?)") {
				t.Errorf("days are not found by their key:\n%s", plan)
			}
		})
	}
}
