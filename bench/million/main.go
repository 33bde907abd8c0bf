//go:build linux

// Command million holds a million Socket.IO connections, each in a room, through two heartbeats, then sends an event to
// all of them and counts the deliveries. It prints the server's usage at each step.
//
// If a process may not have enough descriptors, servers and clients are spread over several processes, up to maxServers.
// If that is not enough, the connections are held in a virtual machine. Its image consists of Debian's kernel and two
// programs: the server, and this program as the first process and as clients.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	// spare is the number of descriptors that a process needs for other things than clients.
	spare  = 200
	module = "github.com/myriad-rt/myriad/"
	// workerClients is the maximum number of clients of a worker, if descriptors allow.
	workerClients = 250_000
	// maxServers is how many servers are started at most: a million should be one server's.
	maxServers = 8
	heartbeats = 2
	steps      = 10
	text       = "to everyone"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("million: ")
	n := flag.Int("n", 1_000_000, "number of connections")
	program := flag.String("server", "", "the program bench/server; empty builds it")
	out := flag.String("out", "", "file for what is printed, beside the standard output")
	vm := flag.Bool("vm", false, "run in a virtual machine although this one has the descriptors")
	kernel := flag.String("kernel", "", "the kernel of the virtual machine; empty downloads Debian's")
	guest := flag.Bool("guest", false, "be the first process of a virtual machine")
	addr := flag.String("worker", "", "be a worker on the server at this address")
	source := flag.Int("source", 0, "the worker's first loopback address")
	flag.Parse()

	var err error
	switch {
	case *addr != "":
		err = runWorker(*addr, *source)
	case *guest:
		err = runGuest(*n)
	case *n < 1:
		err = errors.New("no connections")
	default:
		err = run(*n, *program, *vm, *kernel, *out)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run holds n connections, in a virtual machine if that is requested or this machine cannot hold them. The output is also
// written to the file transcript, unless that is empty, even if the run fails.
func run(n int, program string, vm bool, kernel, transcript string) error {
	var said bytes.Buffer
	out := io.MultiWriter(os.Stdout, &said)
	vm = vm || !enoughDescriptors(n)
	var err error
	if vm {
		err = runVM(n, kernel, out)
	} else {
		err = runHere(n, program, out)
	}
	if transcript == "" {
		return err
	}
	return errors.Join(err, os.WriteFile(transcript, formatTranscript(n, vm, said.Bytes(), err), 0o644))
}

// formatTranscript returns the transcript of a run with this output that ended with err.
func formatTranscript(n int, vm bool, said []byte, err error) []byte {
	head := fmt.Sprintf(transcriptHead, n)
	if vm {
		head += transcriptVM
	}
	if err != nil {
		head += fmt.Sprintf(transcriptFailed, err)
	}
	return fmt.Appendf(nil, "%s\n```text\n%s```\n", head, said)
}

const (
	transcriptHead = `# %d connections

What ` + "`make million`" + ` has printed. [README.md](../README.md#the-million) explains the columns.
`
	transcriptVM = `
It ran in a virtual machine whose processor is emulated: **memory counts, times do not**. The guest's clock counts instructions,
16,000 million to the second.
`
	transcriptFailed = `
**The run has failed:** %v. This is as far as it came.
`
)

// runHere holds n connections on this machine.
func runHere(n int, program string, out io.Writer) error {
	if program == "" {
		dir, err := os.MkdirTemp("", "myriad-million-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "server")
		if said, err := exec.Command("go", "build", "-o", program, module+"bench/server").CombinedOutput(); err != nil {
			return fmt.Errorf("building the server: %w\n%s", err, said)
		}
	}
	f := &fleet{out: out, n: n}
	defer f.kill()
	return f.run(program)
}

// clientsPerProcess returns how many clients a process may hold, of n, and raises the limit for that.
func clientsPerProcess(n int) (int, error) {
	limit, err := raiseLimit(uint64(n + spare))
	if err != nil {
		return 0, err
	}
	if limit <= spare {
		return 0, fmt.Errorf("a process may have %d descriptors only", limit)
	}
	return limit - spare, nil
}

// enoughDescriptors reports whether maxServers processes may hold n connections.
func enoughDescriptors(n int) bool {
	perProcess, err := clientsPerProcess(n)
	return err == nil && n <= maxServers*perProcess
}

// raiseLimit raises the limit for the descriptors of this process and its children to want, or as far as possible,
// and returns it.
func raiseLimit(want uint64) (int, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if l.Max < want {
		higher := syscall.Rlimit{Cur: want, Max: want}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil { // needs a privilege
			return int(want), nil
		}
	}
	l.Cur = min(l.Max, max(want, l.Cur))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("setrlimit", err)
	}
	return int(l.Cur), nil
}
