package netfd

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Poller is an epoll descriptor with an eventfd that wakes its waiting goroutine. Control and Wake are safe for
// concurrent use; the other methods must be called by one goroutine at a time.
type Poller struct {
	epoll, event int
	file         *os.File // the epoll descriptor, registered with the runtime's poller
	raw          syscall.RawConn
	deadline     time.Time // of file

	try    func() bool        // of Await
	tryRaw func(uintptr) bool // calls try
	take   func() bool        // polls into the following
	events []unix.EpollEvent
	found  int
	errno  syscall.Errno
}

// OpenPoller returns a Poller; Close releases it. The error is one of a system call.
func OpenPoller() (*Poller, error) {
	p := new(Poller)
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(p.epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = unix.SetNonblock(p.epoll, true); err == nil { // required by the runtime's poller
		p.file = os.NewFile(uintptr(p.epoll), "epoll")
		p.raw, err = p.file.SyscallConn()
	}
	if err == nil {
		err = p.Control(unix.EPOLL_CTL_ADD, p.event, unix.EPOLLIN, 0, 0)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.tryRaw = func(uintptr) bool { return p.try() }
	p.take = func() bool {
		p.found, p.errno = p.Poll(p.events)
		return p.found != 0 || p.errno != 0
	}
	return p, nil
}

// Poll fills events with the pending events and returns their number.
func (p *Poller) Poll(events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}

// Wait is like Poll, but waits for an event, or until deadline if it is not zero.
func (p *Poller) Wait(events []unix.EpollEvent, deadline time.Time) (int, syscall.Errno) {
	p.events, p.found, p.errno = events, 0, 0
	p.Await(deadline, p.take)
	return p.found, p.errno
}

// Await calls try until it returns true, or until deadline if it is not zero. Between calls it waits for an event.
// The goroutine is then parked; a blocking system call would occupy its processor until the runtime retakes it.
func (p *Poller) Await(deadline time.Time, try func() bool) {
	if deadline != p.deadline {
		p.deadline = deadline
		_ = p.file.SetReadDeadline(deadline)
	}
	p.try = try
	_ = p.raw.Read(p.tryRaw) // an error means that the deadline has passed
}

// Control calls epoll_ctl. slot and generation become the fields Fd and Pad of the events. Both are zero in the
// event of Wake.
func (p *Poller) Control(op, fd int, events, slot, generation uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(slot), Pad: int32(generation)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, fd, &event))
}

// Wake makes the current or next Wait return, until Awake.
func (p *Poller) Wake() {
	one := [8]byte{7: 1, 0: 1} // any value except the maximum works, in either byte order
	unix.Write(p.event, one[:])
}

// Awake undoes Wake.
func (p *Poller) Awake() {
	var count [8]byte
	unix.Read(p.event, count[:])
}

// Close releases the descriptors. No other method may be called afterwards.
func (p *Poller) Close() {
	if p.file != nil {
		p.file.Close()
	} else {
		unix.Close(p.epoll)
	}
	unix.Close(p.event)
}
