package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// partitionSpan is how much time a partition holds.
	partitionSpan = 24 * time.Hour
	// partitionsAhead are made before they are needed: a node that cannot make any
	// for so long still stores everything in partitions, and after that in the
	// default one.
	partitionsAhead = 7
)

// partitioned are the tables that are kept by time, in the order in which rows are
// moved and dropped.
var partitioned = []string{"events", "deliveries", "attempts"}

// partition makes the partitions of the days to come that are missing.
func (c *cluster) partition(ctx context.Context) error {
	day := c.store.now().Truncate(partitionSpan)
	var there int
	err := c.keeper.QueryRowContext(ctx, "SELECT count(*) FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL",
		partitionNames(day)).Scan(&there)
	if err != nil || there == len(partitioned)*(partitionsAhead+1) {
		return err
	}
	tx, err := c.keeper.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range append([]string{"SET LOCAL lock_timeout = '3s'", lockOnce}, makePartitions(day)...) {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make partitions: %w", err)
		}
	}
	return tx.Commit()
}

func partitionName(table string, day time.Time) string { return table + day.Format("_20060102") }

func partitionNames(day time.Time) (names []string) {
	for range partitionsAhead + 1 {
		for _, table := range partitioned {
			names = append(names, partitionName(table, day))
		}
		day = day.Add(partitionSpan)
	}
	return names
}

// makePartitions are the statements that make the partitions of a day and of those
// after it. Rows of deliveries change a few times and then never again, so their
// dead versions are cleaned early, a little at a time.
func makePartitions(day time.Time) (statements []string) {
	options := map[string]string{
		"events":     "autovacuum_vacuum_insert_scale_factor = 0.2",
		"deliveries": "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 1, autovacuum_analyze_scale_factor = 0.05",
		"attempts":   "autovacuum_vacuum_insert_scale_factor = 0.2",
	}
	for range partitionsAhead + 1 {
		next := day.Add(partitionSpan)
		for _, table := range partitioned {
			statements = append(statements, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s) WITH (%s)",
				partitionName(table, day), table, bytesLiteral(firstID(day)), bytesLiteral(firstID(next)), options[table]))
		}
		day = next
	}
	return statements
}

func bytesLiteral(id hook.ID) string { return `'\x` + hex.EncodeToString(id[:]) + `'` }
