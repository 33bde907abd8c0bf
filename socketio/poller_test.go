package socketio_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// poller is a client on long-polling that speaks in packets.
type poller struct {
	t    *testing.T
	http *http.Client
	url  string // of its session
}

// openPoller opens a session.
func openPoller(t *testing.T, url string) *poller {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	p := &poller{t: t, http: &http.Client{Transport: transport}, url: url + "/socket.io/?EIO=4&transport=polling"}
	packets := p.get()
	p.url += "&sid=" + gjson.Get(strings.TrimPrefix(packets[0], "0"), "sid").Str
	return p
}

// connectPoller opens a session and joins "/".
func connectPoller(t *testing.T, url string) *poller {
	t.Helper()
	p := openPoller(t, url)
	p.post("40")
	if packets := p.get(); !strings.HasPrefix(packets[0], `40{"sid":"`) {
		t.Fatalf("answer to CONNECT: %q", packets)
	}
	return p
}

// get fetches packets. It returns nil if the session has ended.
func (p *poller) get() []string {
	p.t.Helper()
	status, body := p.do(http.MethodGet, "")
	if status != http.StatusOK {
		return nil
	}
	return strings.Split(body, "\x1e")
}

// read fetches packets until some are not heartbeats. It answers heartbeats.
func (p *poller) read() []string {
	p.t.Helper()
	for {
		packets := p.get()
		rest := slices.DeleteFunc(slices.Clone(packets), func(text string) bool { return text == "2" })
		if len(rest) < len(packets) {
			p.post("3")
		}
		if len(rest) > 0 || len(packets) == 0 {
			return rest
		}
	}
}

// post sends packets in one payload.
func (p *poller) post(packets ...string) {
	p.t.Helper()
	if status, body := p.do(http.MethodPost, strings.Join(packets, "\x1e")); status != http.StatusOK {
		p.t.Fatalf("POST: %d %s", status, body)
	}
}

func (p *poller) do(method, body string) (status int, answer string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	status, answer, err := p.request(ctx, method, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, answer
}

// request may be called from any goroutine.
func (p *poller) request(ctx context.Context, method, body string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := p.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}
