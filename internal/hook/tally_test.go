package hook

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Each quantile is within HistogramError of the duration of its rank, for added histograms,
// too. Controls: with cells of twice the width it is not, and the cells are no finer than
// necessary.
func TestHistogramError(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var parts [3]Histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(rnd.Float64()*math.Log(40*24*3600*1e6))) * time.Microsecond
		all = append(all, d)
		parts[rnd.IntN(len(parts))].Note(d)
	}
	slices.Sort(all)
	var sum Histogram
	for i := range parts {
		sum.Add(&parts[i])
	}
	if sum.Count() != int64(len(all)) {
		t.Fatalf("%d of %d durations", sum.Count(), len(all))
	}
	worst := 0.0
	for percent := int64(1); percent <= 100; percent++ {
		want := all[(int64(len(all))*percent+99)/100-1]
		worst = max(worst, math.Abs(float64(sum.Quantile(percent)-want))/float64(want))
	}
	if worst > HistogramError || worst < HistogramError/2 {
		t.Errorf("the worst error is %.4f, want at most %.4f and more than half of it", worst, HistogramError)
	}
	last := uint16(0)
	for us := uint64(1); us < longest; us += 1 + us/64 {
		cell := cellOf(us)
		if cell < last || cell > last+1 {
			t.Fatalf("%d us is in cell %d, after %d", us, cell, last)
		}
		last = cell
	}
	var odd Histogram
	odd.Note(-time.Second)
	odd.Note(time.Hour * 24 * 365)
	if odd.Quantile(1) != 0 || odd.Quantile(100) < 49*24*time.Hour || new(Histogram).Quantile(50) != 0 {
		t.Errorf("%v to %v", odd.Quantile(1), odd.Quantile(100))
	}
}
