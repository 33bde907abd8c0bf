//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// process is a server or a worker, which reports its progress line by line.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func start(name, program string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(program, args...)}
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// line returns the next line of the process's output.
func (p *process) line() (string, error) {
	if !p.lines.Scan() {
		err := p.lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return "", fmt.Errorf("%s: %w", p.name, err)
	}
	return p.lines.Text(), nil
}

// tell sends a worker a command. The next line is its answer.
func (p *process) tell(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.stdin, format+"\n", args...); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// ask sends a worker a command and returns its answer.
func (p *process) ask(format string, args ...any) (string, error) {
	if err := p.tell(format, args...); err != nil {
		return "", err
	}
	return p.line()
}

// kill ends the process.
func (p *process) kill() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill() // it may have exited
	_ = p.cmd.Wait()         // the signal is no news
}
