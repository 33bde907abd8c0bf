//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// process is a running program.
type process struct {
	cmd    *exec.Cmd
	addr   string
	errors bytes.Buffer
	ended  chan error
}

// kind is the implementation of a node, or another program that publishes.
type kind string

const (
	goNode   kind = "Go"
	nodeNode kind = "Node.js"
	bare     kind = "bare connections"
)

// otherCore is the core that does not run the measured program.
func otherCore() int { return min(1, runtime.NumCPU()-1) }

// pinned returns a command that runs on one core.
func (b *bench) pinned(core int, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(b.ctx, "taskset", append([]string{"-c", strconv.Itoa(core), program}, args...)...)
}

// pinSelf lets all threads of this program run on one core.
func pinSelf(core int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(core)
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}

// startNode starts a node on a core and waits until it listens.
func (b *bench) startNode(k kind, core int) (*process, error) {
	program, args := filepath.Join(b.bin, "node"), []string(nil)
	if k == nodeNode {
		program, args = "node", []string{filepath.Join(b.dir, "node", "cluster.js")}
	}
	args = append(args, "--addr", "127.0.0.1:0", "--redis", b.redis.addr)
	return start(b.pinned(core, program, args...))
}

// start starts a program and waits until it prints its address.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &p.errors
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				listening <- addr
			}
		}
		p.ended <- cmd.Wait()
	}()
	select {
	case p.addr = <-listening:
		return p, nil
	case err := <-p.ended:
		return nil, fmt.Errorf("the node has ended: %w\n%s", err, p.errors.Bytes())
	case <-time.After(startTimeout):
		p.stop()
		return nil, errors.New("the node does not listen")
	}
}

// stop ends the program.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have exited
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *process) cpu() (time.Duration, error) { return proc.CPU(p.cmd.Process.Pid) }

// Redis listens on one of these ports. Neither the system nor package daemon assigns them to other programs.
const (
	firstPort = 30_000
	ports     = 2_000
)

// startRedis starts a Redis of this benchmark's own on a port that is free.
func (b *bench) startRedis() error {
	var l net.Listener
	var err error
	for range ports {
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return err
	}
	cmd := b.pinned(otherCore(), "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", b.bin, "--save", "", "--appendonly", "no")
	p := &process{cmd: cmd, addr: addr, ended: make(chan error, 1)}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { p.ended <- cmd.Wait() }()
	b.redis = p
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		} else if time.Now().After(deadline) {
			p.stop()
			return err
		}
	}
}

// ask sends Redis a command, whose arguments must not need quoting, and returns the raw answer.
func (b *bench) ask(command string) (string, error) {
	conn, err := net.Dial("tcp", b.redis.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command+"\r\nQUIT\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// published returns the number of PUBLISH commands that Redis has received.
func (b *bench) published() (int, error) {
	answer, err := b.ask("INFO commandstats")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(answer, "cmdstat_publish:calls=")
	if !ok {
		return 0, nil
	}
	calls, _, _ := strings.Cut(rest, ",")
	return strconv.Atoi(calls)
}

// redisBenchmark returns how many messages of this size redis-benchmark publishes on a channel in a second.
func (b *bench) redisBenchmark(channel string, size, pipeline int) (float64, error) {
	_, port, _ := net.SplitHostPort(b.redis.addr)
	cmd := b.pinned(0, "redis-benchmark", "-p", port, "-n", strconv.Itoa(4*b.messages), "-P", strconv.Itoa(pipeline), "--csv",
		"PUBLISH", channel, strings.Repeat("x", size))
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("redis-benchmark: %w", err)
	}
	// "test","rps",… and a line of figures.
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], `","`)
	if len(fields) < 2 {
		return 0, fmt.Errorf("redis-benchmark said %q", out)
	}
	return strconv.ParseFloat(strings.Trim(fields[1], `"`), 64)
}
