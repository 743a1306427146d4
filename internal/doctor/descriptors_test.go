package doctor

import (
	"fmt"
	"strings"
	"testing"
)

// TestDoctorLooksAtDescriptors compares the descriptor limit with the budgets of attempts.
func TestDoctorLooksAtDescriptors(t *testing.T) {
	for have, status := range map[int]string{6143: "warn", 6144: "ok"} {
		c := &checkup{}
		c.descriptors(have)
		if f := c.Findings[0]; f.Status != status || !strings.Contains(f.Message, fmt.Sprint(have)) {
			t.Errorf("%d: %+v", have, f)
		}
	}
	t.Setenv("POSTHORN_SLOW_ATTEMPTS", "8192")
	c := &checkup{}
	if c.descriptors(6144); c.Findings[0].Status != "warn" {
		t.Errorf("with more attempts: %+v", c.Findings[0])
	}
}
