package soak

import (
	"fmt"
	"slices"
	"time"
)

// cost returns the duration of f: the minimum of many measurements, which depends little on other load.
func cost(f func()) time.Duration {
	const batches, size = 50, 200
	least := time.Duration(1 << 62)
	for range batches {
		start := time.Now()
		for range size {
			f()
		}
		least = min(least, time.Since(start)/size)
	}
	return least
}

// aftermath returns an error if a small operation costs more after a large one than before. The usual reason is a pooled
// object that the large operation has grown. before holds costs from before the first large operation, after holds the cost
// after each of several. The median counts, because a pooled object may be dropped at any time.
func aftermath(what string, before, after []time.Duration) error {
	const times, extra = 3, 100 * time.Nanosecond
	least := slices.Min(before)
	if median := slices.Sorted(slices.Values(after))[len(after)/2]; median > times*least+extra {
		return fmt.Errorf("%s takes %v after a large one, and took %v before", what, median, least)
	}
	return nil
}
