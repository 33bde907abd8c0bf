//go:build linux

// Command cluster compares Go nodes with Node.js nodes that use the official adapter, over one Redis server. It measures
// CPU per broadcast published and received, and broadcasts per second, which it compares with redis-benchmark. The
// README.md of the parent directory describes the method.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

func main() {
	log.SetFlags(0)
	repeats := flag.Int("repeats", 3, "number of times that everything is measured")
	messages := flag.Int("messages", 30_000, "number of broadcasts in each run")
	out := flag.String("out", "", `file for the results, beside the standard output; "" is CLUSTER.md in bench, "-" none`)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *repeats, *messages, *out); err != nil {
		log.Fatal(err)
	}
}

// sizes are the payloads in bytes.
var sizes = []int{32, 1 << 10, 16 << 10}

// bench is a Redis and programs that use it.
type bench struct {
	ctx      context.Context
	dir      string // of the benchmarks' sources
	bin      string // of the programs
	messages int
	redis    *process
}

func run(ctx context.Context, repeats, messages int, out string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("looking for the module: %w", err)
	}
	b := &bench{ctx: ctx, dir: filepath.Join(strings.TrimSpace(string(root)), "bench"), messages: messages}
	if b.bin, err = os.MkdirTemp("", "myriad-cluster-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.bin)
	build := exec.CommandContext(ctx, "go", "build", "-o", b.bin+"/", "./cluster/node")
	build.Dir = b.dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, out)
	}
	if err := b.startRedis(); err != nil {
		return err
	}
	defer b.redis.stop()

	machine, err := proc.Machine()
	if err != nil {
		return err
	}
	load, err := proc.Load()
	if err != nil {
		return err
	}
	r := make(results)
	for i := range repeats {
		for _, size := range sizes {
			if err := b.measure(r, size); err != nil {
				return err
			}
			log.Printf("%d/%d, %d bytes: %s", i+1, repeats, size, r.last(size))
		}
	}
	text := r.document(machine, load, repeats, messages)
	fmt.Print(text)
	switch out {
	case "-":
		return nil
	case "":
		out = filepath.Join(b.dir, "CLUSTER.md")
	}
	return os.WriteFile(out, []byte(text), 0o644)
}
