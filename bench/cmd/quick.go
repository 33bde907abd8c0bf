//go:build linux

package main

import (
	"errors"
	"fmt"
)

// Bounds of mode quick. Times in µs are for a machine on which the floor takes floorAck and floorConnect. They scale with
// the machine.
const (
	maxGoroutines = 50
	maxResident   = 2048
	maxAck        = 12
	maxConnect    = 120
	floorAck      = 6.5
	floorConnect  = 25
)

// quick prints the figures that say at once whether something is badly wrong, and fails then.
func quick(b *bench) error {
	r, err := b.measure(quickPlan())
	if err != nil {
		return err
	}
	failed := false
	line := func(title, task string, on target, m metric, bound, floorAt float64) {
		v, _ := r.value(task, on, m)
		against := ""
		if floorAt > 0 {
			f, _ := r.value(task, floor, m)
			bound *= max(1, f/floorAt)
			against = fmt.Sprintf(", floor %.3g %s", f, m.unit)
		}
		verdict := "ok"
		if v >= bound {
			verdict, failed = "TOO MUCH", true
		}
		fmt.Printf("%-58s %8.4g %-2s  (bound %.4g%s)  %s\n", title, v, m.unit, bound, against, verdict)
	}
	line("goroutines added by 5,000 idle WebSocket connections", "quick/idle", myriad, goroutines, maxGoroutines, 0)
	line("resident memory per idle connection, http.Handler", "quick/idle", myriad, resident, maxResident, 0)
	line("resident memory per idle connection, ListenAndServe", "quick/idle", own, resident, maxResident, 0)
	line("server CPU per acknowledged event, 1,000 clients", "quick/ack", myriad, cpu, maxAck, floorAck)
	line("server CPU per connection made", "quick/idle", myriad, connectCPU, maxConnect, floorConnect)
	if failed {
		return errors.New("a bound is exceeded")
	}
	return nil
}
