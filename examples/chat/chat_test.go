package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCleanName(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "Ada", "Ada"},
		{"white space", "  Ada \t Lovelace\n", "Ada Lovelace"},
		{"longest", strings.Repeat("ä", maxName), strings.Repeat("ä", maxName)},
		{"too long", strings.Repeat("a", maxName+1), ""},
		{"empty", "", ""},
		{"blank", " \n", ""},
		{"control character", "Ada\x00", ""},
		{"direction override", "Ada\u202e", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := cleanName(tc.in)
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("cleanName(%q) = %q, %v, want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestCleanRoom(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "lobby", "lobby"},
		{"as shown", "# Release 1.0 ", "release-1.0"},
		{"other script", "広場", "広場"},
		{"too long", strings.Repeat("a", maxRoom+1), ""},
		{"hash only", " # ", ""},
		{"path", "../etc", ""},
		{"markup", "<b>", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := cleanRoom(tc.in)
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("cleanRoom(%q) = %q, %v, want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestPostCheck(t *testing.T) {
	png := []byte("\x89PNG\x0D\x0A\x1A\x0A")
	for _, tc := range []struct {
		name, imageType string
		post            Post
		ok              bool
	}{
		{"text", "", Post{Text: " Hello "}, true},
		{"image", "image/png", Post{Image: png}, true},
		{"both", "image/png", Post{Text: "Look", Image: png}, true},
		{"nothing", "", Post{Text: " \n"}, false},
		{"long text", "", Post{Text: strings.Repeat("a", maxText+1)}, false},
		{"large image", "", Post{Image: append(png, bytes.Repeat([]byte{0}, maxImage)...)}, false},
		{"long ref", "", Post{Text: "Hello", Ref: strings.Repeat("a", maxKey+1)}, false},
		{"drawing with scripts", "", Post{Image: []byte(`<svg onload="alert(1)"/>`)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			imageType, err := tc.post.check()
			if imageType != tc.imageType || (err == nil) != tc.ok {
				t.Errorf("check() = %q, %v", imageType, err)
			}
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	r := newRoom("lobby")
	for id := range int64(2 * maxHistory) {
		r.remember(Message{ID: id})
	}
	if len(r.history) != maxHistory || r.history[0].ID != maxHistory {
		t.Errorf("%d messages from ID %d on", len(r.history), r.history[0].ID)
	}
	for id := range int64(10) {
		r.remember(Message{ID: 1000 + id, Image: make([]byte, maxImage)})
	}
	if len(r.history) != historyBytes/maxImage || r.history[len(r.history)-1].ID != 1009 {
		t.Errorf("%d messages with images", len(r.history))
	}
}
