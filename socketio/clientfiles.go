package socketio

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"github.com/myriad-rt/myriad/internal/coding"
)

// clientFiles serves the official client for browsers. Each content coding of a file has an entity tag of its own, which the
// reference does not do, so that caches keep them apart.
type clientFiles struct {
	files  fs.FS
	logger *slog.Logger

	loaded sync.Map // of []byte, by fileKey
}

// fileKey is the name of a file and a content coding, "" for the file as it is.
type fileKey struct{ name, coding string }

// clientFileNames are the files that are served, each also with its source map.
var clientFileNames = []string{
	"socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js", "socket.io.esm.min.js",
}

func newClientFiles(files fs.FS, logger *slog.Logger) *clientFiles {
	return &clientFiles{files: files, logger: logger}
}

// has reports whether a file of this name is served.
func (c *clientFiles) has(name string) bool {
	return slices.Contains(clientFileNames, strings.TrimSuffix(name, ".map"))
}

// banner holds the version of the client, at the beginning of each of its scripts.
var banner = regexp.MustCompile(`Socket\.IO v(\d[\w.+-]*)`)

// load returns a file in a content coding, with its entity tag. Each is read, and compressed, once, or a few times if it is
// requested at the same moment.
func (c *clientFiles) load(key fileKey) (body []byte, etag string, err error) {
	plain, err := c.read(key.name)
	if err != nil {
		return nil, "", err
	}
	script, err := c.read(strings.TrimSuffix(key.name, ".map"))
	if err != nil {
		return nil, "", err
	}
	if m := banner.FindSubmatch(script[:min(len(script), 512)]); m != nil {
		etag = `"` + string(m[1]) + `"`
		if key.coding != "" {
			etag = `"` + string(m[1]) + "-" + key.coding + `"`
		}
	}
	if key.coding == "" {
		return plain, etag, nil
	}
	body, err = c.once(key, func() ([]byte, error) { return compress(key.coding, plain) })
	return body, etag, err
}

func (c *clientFiles) read(name string) ([]byte, error) {
	return c.once(fileKey{name: name}, func() ([]byte, error) { return fs.ReadFile(c.files, name) })
}

// once returns the text for key, and calls load for it unless it is already known. It holds no lock meanwhile.
func (c *clientFiles) once(key fileKey, load func() ([]byte, error)) ([]byte, error) {
	if text, ok := c.loaded.Load(key); ok {
		return text.([]byte), nil
	}
	text, err := load()
	if err != nil {
		return nil, err
	}
	c.loaded.Store(key, text)
	return text, nil
}

// Content codings, RFC 9110 section 8.4.1; "br" is RFC 7932.
const (
	codingBrotli  = "br"
	codingGzip    = "gzip"
	codingDeflate = "deflate"
)

// brotliLevel packs the files about as well as the highest level, in a hundredth of the time.
const brotliLevel = 5

func compress(coding string, text []byte) ([]byte, error) {
	var packed bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case codingBrotli:
		w = brotli.NewWriterLevel(&packed, brotliLevel)
	case codingGzip:
		w = gzip.NewWriter(&packed)
	default:
		w = zlib.NewWriter(&packed)
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err := w.Close()
	return packed.Bytes(), err
}

// handler serves the file of this name.
func (c *clientFiles) handler(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := fileKey{name, coding.Negotiate(r.Header.Get("Accept-Encoding"), codingBrotli, codingGzip, codingDeflate)}
		body, etag, err := c.load(key)
		if err != nil {
			c.logger.Warn("client file cannot be read", "file", name, "err", err)
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=0")
		h.Add("Vary", "Accept-Encoding")
		if etag != "" {
			h["ETag"] = []string{etag} // net/http would write "Etag", which is the same
		}
		if matches(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "application/javascript; charset=utf-8")
		if strings.HasSuffix(name, ".map") {
			h.Set("Content-Type", "application/json; charset=utf-8")
		}
		if key.coding != "" {
			h.Set("Content-Encoding", key.coding)
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client may have gone
	})
}

// matches reports whether etag, unless it is "", is in a list of entity tags, RFC 9110 section 13.1.2. The tags of client files
// have no commas.
func matches(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); etag != "" && tag == etag {
			return true
		}
	}
	return false
}
