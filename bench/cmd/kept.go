//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// kept holds the measurements so far. An interrupted run can be continued from it, unless the programs or the duration of
// the measurements have changed.
type kept struct {
	Key     string    `json:"key"`
	Began   time.Time `json:"began"`
	Load    float64   `json:"load"` // of the machine before
	Results results   `json:"results"`
}

// keptFile is in a folder that git ignores.
func (b *bench) keptFile() string { return filepath.Join(b.root, "bin", "bench.json") }

// resume loads the measurements of an earlier attempt, unless fresh is set, and starts keeping new ones.
func (b *bench) resume(fresh bool) error {
	key, err := b.key()
	if err != nil {
		return err
	}
	b.keeping = true
	if b.kept.Load, err = proc.Load(); err != nil {
		return err
	}
	b.kept.Key, b.kept.Began = key, b.began.UTC().Truncate(time.Second)
	data, err := os.ReadFile(b.keptFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var old kept
	if fresh || json.Unmarshal(data, &old) != nil || old.Key != key || old.Results == nil {
		return nil
	}
	log.Printf("going on with what was begun at %s; -fresh begins again", old.Began.Format(time.DateTime))
	b.kept = old
	return nil
}

// key identifies the measured programs and settings.
func (b *bench) key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, b.duration, b.warm)
	for _, path := range []string{
		filepath.Join(b.bin, "server"), filepath.Join(b.bin, "floor"), filepath.Join(b.bin, "load"),
		filepath.Join(b.dir, "node", "server.js"), filepath.Join(b.dir, "node", "package-lock.json"),
	} {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, file)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// keep writes the measurements so far.
func (b *bench) keep() error {
	if !b.keeping {
		return nil
	}
	data, err := json.Marshal(b.kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.keptFile()), 0o755); err != nil {
		return err
	}
	next := b.keptFile() + ".next"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, b.keptFile())
}

// done deletes the kept measurements, so that the next run starts again.
func (b *bench) done() error {
	if !b.keeping {
		return nil
	}
	return os.Remove(b.keptFile())
}
