//go:build linux

package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	emulator = "qemu-system-x86_64"
	done     = "million: done" // the last line of a successful guest
)

// Arguments of the emulator. Its clock counts instructions, one per nanosecond, and skips idle time. So the guest does not
// notice a busy host, and nothing times out because emulation is slow.
var emulatorArgs = []string{
	"-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
	"-machine", "pc", "-cpu", "qemu64", "-smp", "1", "-m", "18G",
	"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
}

// kernelArgs are the kernel's parameters. The time stamp counter, which is incremented with each instruction, is declared
// to run at 16 GHz. That makes a processor with 16,000 million instructions per second of the guest, as much as four
// processors of the host. With fewer, clients time out. The other parameters turn off features that cost instructions and
// have nothing to do with connections.
var kernelArgs = []string{
	"console=ttyS0", "quiet", "panic=-1",
	"tsc_early_khz=16000000", "tsc=reliable", "clocksource=tsc",
	"mitigations=off", "audit=0", "psi=0", "lsm=", "init_on_alloc=0", "hardened_usercopy=off", "page_alloc.shuffle=0",
	"thash_entries=2097152", "transparent_hugepage=madvise",
}

// runVM runs the test in a virtual machine with its own kernel and limits. If the path of the kernel is empty, Debian's
// kernel is used.
func runVM(n int, kernel string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "myriad-million-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := installEmulator(); err != nil {
		return err
	}
	if kernel == "" {
		if kernel, err = fetchKernel(dir); err != nil {
			return err
		}
	}
	image, err := buildImage(dir)
	if err != nil {
		return err
	}
	args := kernelArgs
	if gogc := os.Getenv("GOGC"); gogc != "" {
		args = append(args, "GOGC="+gogc) // parameters unknown to the kernel become the environment of the first process
	}
	args = append(args, "--", "-guest", fmt.Sprint("-n=", n))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, emulator, append(emulatorArgs, "-kernel", kernel, "-initrd", image, "-append", strings.Join(args, " "))...)
	cmd.Stderr = os.Stderr
	serial, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%s %s\nkernel %s: %s\n\n", runtime.Version(), emulator, strings.Join(emulatorArgs, " "), filepath.Base(kernel),
		strings.Join(args, " "))
	succeeded, err := copySerial(out, serial)
	if err != nil {
		stop() // its output is no longer read
	}
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return err
	}
	if !succeeded {
		return errors.New("the virtual machine has ended early")
	}
	took, cpu := time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	_, err = fmt.Fprintf(out, "\nThe emulation took %v, and %v of CPU.\n", took.Round(time.Second), cpu.Round(time.Second))
	return err
}

// copySerial copies the output of the guest to out until the guest turns itself off, and reports whether it succeeded.
func copySerial(out io.Writer, serial io.Reader) (succeeded bool, err error) {
	lines := bufio.NewScanner(serial)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		switch {
		case line == done:
			succeeded = true
		case succeeded: // the kernel's farewell
		default:
			if _, err := fmt.Fprintln(out, line); err != nil {
				return false, err
			}
		}
	}
	return succeeded, lines.Err()
}

// installEmulator installs the emulator where it is not, and apt-get may.
func installEmulator() error {
	if _, err := exec.LookPath(emulator); err == nil {
		return nil
	}
	err := apt("update")
	if err == nil {
		err = apt("install", "-y", "--no-install-recommends", "qemu-system-x86")
	}
	if err != nil {
		return fmt.Errorf("please install %s (Debian package qemu-system-x86): %w", emulator, err)
	}
	_, err = exec.LookPath(emulator)
	return err
}

// apt runs apt-get as root, without asking for a password.
func apt(args ...string) error {
	command := append([]string{"apt-get", "-o", "DPkg::Lock::Timeout=120"}, args...)
	if os.Geteuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, said)
	}
	return nil
}

// fetchKernel gets Debian's kernel without installing it, into dir, and returns its path.
func fetchKernel(dir string) (string, error) {
	name, err := kernelName()
	if err != nil {
		// The lists of packages may be missing.
		if err := apt("update"); err != nil {
			return "", err
		}
		if name, err = kernelName(); err != nil {
			return "", err
		}
	}
	download := exec.Command("apt-get", "download", name)
	download.Dir = dir
	if said, err := download.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download %s: %w\n%s", name, err, said)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "linux-image-*.deb"))
	if err != nil || len(packages) != 1 {
		return "", fmt.Errorf("apt-get download %s has left %q", name, packages)
	}
	return unpackKernel(packages[0], dir)
}

// kernelName returns the name of the package with the newest kernel, which another package depends on.
func kernelName() (string, error) {
	const newest = "linux-image-amd64"
	said, err := exec.Command("apt-cache", "depends", newest).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s, which is Debian's kernel for amd64: %w\n%s", newest, err, said)
	}
	depends := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindSubmatch(said)
	if depends == nil {
		return "", fmt.Errorf("apt-cache depends %s names no kernel: %s", newest, said)
	}
	return string(depends[1]), nil
}

// unpackKernel writes the kernel in a Debian package to dir and returns its path.
func unpackKernel(debian, dir string) (string, error) {
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", debian)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer func() {
		_ = cmd.Process.Kill() // the rest of the package is not needed
		_ = cmd.Wait()
	}()
	for files := tar.NewReader(stdout); ; {
		file, err := files.Next()
		if err != nil {
			return "", fmt.Errorf("looking for the kernel in %s: %w", filepath.Base(debian), err)
		}
		if !strings.HasPrefix(file.Name, "./boot/vmlinuz-") {
			continue
		}
		data, err := io.ReadAll(files)
		if err != nil {
			return "", err
		}
		kernel := filepath.Join(dir, filepath.Base(file.Name))
		return kernel, os.WriteFile(kernel, data, 0o600)
	}
}

// buildImage writes the initial file system of the guest: this program and the server.
func buildImage(dir string) (string, error) {
	image := filepath.Join(dir, "initramfs")
	a := new(archive)
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		a.add(name, modeDir|0o755, device{}, nil)
	}
	a.add("dev/console", modeDevice|0o600, device{5, 1}, nil)
	for name, pkg := range map[string]string{"init": "bench/million", "server": "bench/server"} {
		program := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-o", program, module+pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", pkg, err, said)
		}
		data, err := os.ReadFile(program)
		if err != nil {
			return "", err
		}
		a.add(name, modeFile|0o755, device{}, data)
	}
	return image, os.WriteFile(image, a.bytes(), 0o600)
}
