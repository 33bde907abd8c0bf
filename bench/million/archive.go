//go:build linux

package main

import (
	"bytes"
	"fmt"
)

// Types of files, as in st_mode.
const (
	modeDir    = 0o040000
	modeDevice = 0o020000 // character device
	modeFile   = 0o100000
)

type device struct{ major, minor int }

// archive is a cpio archive in the format "newc", which the kernel unpacks as its first file system.
type archive struct {
	buf   bytes.Buffer
	inode int
}

// add adds a file. A directory must be added before its files.
func (a *archive) add(name string, mode int, d device, data []byte) {
	a.inode++
	const uid, gid, links, mtime, check = 0, 0, 1, 0, 0
	a.buf.WriteString("070701")
	for _, field := range []int{a.inode, mode, uid, gid, links, mtime, len(data), 0, 0, d.major, d.minor, len(name) + 1, check} {
		fmt.Fprintf(&a.buf, "%08X", field)
	}
	a.buf.WriteString(name + "\x00")
	a.pad()
	a.buf.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.add("TRAILER!!!", 0, device{}, nil)
	return a.buf.Bytes()
}
