//go:build linux

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// settings are the kernel's limits for a million connections with both ends on this machine.
//
// By default the loopback interface queues 1,000 packets. After a broadcast more acknowledgements than that are due in one
// tick of the clock. The others would be lost, be retransmitted with growing delays, and hold up the pings behind them until
// clients time out.
var settings = map[string]string{
	"fs/nr_open":                         "4000000",
	"fs/file-max":                        "8000000",
	"net/core/somaxconn":                 "65535",
	"net/core/netdev_max_backlog":        "1000000", // packets
	"net/ipv4/tcp_max_syn_backlog":       "65535",
	"net/ipv4/ip_local_port_range":       "1024 65535",
	"net/ipv4/tcp_mem":                   "1000000 2000000 3000000", // pages
	"net/ipv4/tcp_no_metrics_save":       "1",
	"net/ipv4/tcp_slow_start_after_idle": "0",
}

// runGuest is the first process of the virtual machine. It returns only if it fails to turn off the
// machine.
func runGuest(n int) error {
	err := prepareGuest()
	if err == nil {
		// The processes are not stopped: closing all connections would take long, and they end with the machine.
		f := &fleet{out: os.Stdout, n: n}
		err = f.run("/server")
	}
	if err != nil {
		fmt.Println("million:", err)
	} else {
		fmt.Println(done)
	}
	// The contents of the console's buffer would be lost.
	if err := unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1); err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	return os.NewSyscallError("reboot", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

func prepareGuest() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"debugfs", "/sys/kernel/debug"},
	} {
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return os.NewSyscallError("mount "+m.dir, err)
		}
	}
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	// Server and clients share a processor. Without this each message would switch processes, which is expensive under
	// emulation, because all address translations are lost.
	if err := os.WriteFile("/sys/kernel/debug/sched/features", []byte("NO_WAKEUP_PREEMPTION"), 0); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp brings up the loopback interface with all addresses of 127.0.0.0/8.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
