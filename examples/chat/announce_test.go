package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/socketio"
)

func TestAnnounce(t *testing.T) {
	server := socketio.NewServer(nil)
	t.Cleanup(func() { server.Close() })
	c := newChat(server)

	hello := []string{"Hello"}
	for _, tc := range []struct {
		name   string
		form   url.Values
		status int
	}{
		{"everyone", url.Values{"text": hello}, http.StatusOK},
		{"several rooms", url.Values{"text": hello, "room": {"lobby", "design"}}, http.StatusOK},
		{"all but a room", url.Values{"text": hello, "except": {"lobby"}}, http.StatusOK},
		{"nobody to wait for", url.Values{"text": hello, "ack": {"1"}}, http.StatusOK},
		{"nobody of this name", url.Values{"text": hello, "name": {"Ada"}}, http.StatusNotFound},
		{"no text", url.Values{}, http.StatusBadRequest},
		{"too long", url.Values{"text": {strings.Repeat("a", maxText+1)}}, http.StatusBadRequest},
		{"too large", url.Values{"text": {strings.Repeat("a", 1<<20)}}, http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/announce", strings.NewReader(tc.form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			c.announce(w, r)
			if w.Code != tc.status || strings.Contains(w.Body.String(), `"error"`) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tc.status)
			}
		})
	}
}
