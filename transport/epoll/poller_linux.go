package epoll

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is the event loops of a Server.
type poller struct {
	loops []*loop
	next  atomic.Uint32 // counts connections, to spread them over the loops
	guard *guard
}

func newPoller(s *Server) (*poller, error) {
	p := &poller{}
	for range s.options.Loops {
		l, err := newLoop(s)
		if err != nil {
			for _, l := range p.loops {
				l.release()
			}
			return nil, err
		}
		p.loops = append(p.loops, l)
	}
	p.guard = newGuard(s, p.loops)
	for _, l := range p.loops {
		l.guard = p.guard
		go l.serve()
	}
	go p.guard.watch()
	return p, nil
}

// adopt takes the descriptor of conn over and returns a Conn for it, or nil if that cannot be done.
func (p *poller) adopt(conn net.Conn) *Conn {
	fd := -1
	switch c := conn.(type) {
	case *accepted:
		if fd = c.take(); fd < 0 && c.conn != nil {
			return p.adopt(c.conn)
		}
	case *net.TCPConn:
		// The heartbeat finds peers that are gone, and probes would cost as much as it does.
		_ = c.SetKeepAlive(false)
		fd = duplicate(c)
	case *net.UnixConn:
		fd = duplicate(c)
	}
	if fd < 0 {
		return nil
	}
	l := p.loops[p.next.Add(1)%uint32(len(p.loops))]
	return &Conn{by: &l.self, fd: int32(fd)}
}

// duplicate returns a descriptor for conn, which it closes, or -1. That of a net.Conn belongs to the runtime's poller,
// which gives it up only by closing it.
func duplicate(conn interface {
	syscall.Conn
	net.Conn
}) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || dupErr != nil {
		return -1
	}
	conn.Close()
	return fd
}

// conns returns the started connections.
func (p *poller) conns() []*Conn {
	var all []*Conn
	for _, l := range p.loops {
		all = l.appendConns(all)
	}
	return all
}

// close aborts all connections and ends the loops and their guard.
func (p *poller) close() {
	for _, l := range p.loops {
		l.stop()
	}
	for _, l := range p.loops {
		<-l.done
	}
	p.guard.stop()
}

// The calls below never wait, so the scheduler is not told of them.

// rawRead reads from a socket.
func rawRead(fd int32, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// rawUnread reports whether there is something to be read from a socket.
func rawUnread(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err == nil && n > 0
}

// rawWrite writes to a socket. b is not empty.
func rawWrite(fd int32, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// maxVectors is the number of chunks that are written by one call.
const maxVectors = 64

// rawWriteVectors writes to a socket. vectors are at most maxVectors, none of them empty.
func rawWriteVectors(fd int32, vectors [][]byte) (int, syscall.Errno) {
	var iov [maxVectors]unix.Iovec
	for i, b := range vectors {
		iov[i].Base = &b[0]
		iov[i].SetLen(len(b))
	}
	message := unix.Msghdr{Iov: &iov[0]}
	message.SetIovlen(len(vectors))
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return int(n), errno
}

// rawPoll returns what is ready.
func rawPoll(epfd int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	return int(n), errno
}

// descriptors are the epoll descriptor of a loop and the eventfd that wakes it.
type descriptors struct {
	epoll, event int
	file         *os.File // the epoll descriptor as the runtime's poller knows it
	raw          syscall.RawConn
	deadline     time.Time // of file
}

func openDescriptors() (d descriptors, err error) {
	if d.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return d, os.NewSyscallError("epoll_create1", err)
	}
	if d.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(d.epoll)
		return d, os.NewSyscallError("eventfd", err)
	}
	if err = unix.SetNonblock(d.epoll, true); err == nil { // or the runtime would not wait for it
		d.file = os.NewFile(uintptr(d.epoll), "epoll")
		d.raw, err = d.file.SyscallConn()
	}
	if err == nil {
		err = d.control(unix.EPOLL_CTL_ADD, d.event, unix.EPOLLIN, 0, 0)
	}
	if err != nil {
		d.close()
	}
	return d, err
}

// wait calls poll until it returns true, or until deadline unless that is zero. Between the calls the goroutine is
// parked until there are events: a system call that waits would keep its processor from others until the runtime
// takes it away.
func (d *descriptors) wait(deadline time.Time, poll func(fd uintptr) bool) {
	if deadline != d.deadline {
		d.deadline = deadline
		_ = d.file.SetReadDeadline(deadline)
	}
	_ = d.raw.Read(poll) // an error says that the time is over
}

// control calls epoll_ctl. slot and generation come back with the events.
func (d *descriptors) control(op, fd int, events, slot, generation uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(slot), Pad: int32(generation)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(d.epoll, op, fd, &event))
}

// wake makes a wait for events return.
func (d *descriptors) wake() {
	one := [8]byte{7: 1, 0: 1} // any value but the largest will do, in either byte order
	unix.Write(d.event, one[:])
}

// awake takes back what wake has done.
func (d *descriptors) awake() {
	var count [8]byte
	unix.Read(d.event, count[:])
}

func (d *descriptors) close() {
	if d.file != nil {
		d.file.Close()
	} else {
		unix.Close(d.epoll)
	}
	unix.Close(d.event)
}
