package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Events from clients. Each of them, except typing, is acknowledged with a Reply.
type (
	// Hello is the first event on every connection. Key is a secret of the client, with which it reclaims its
	// name after its connection broke.
	Hello struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	}
	// Join enters a room, which is created if it is not there. Messages of the room with an ID greater than
	// After are sent before the acknowledgement.
	Join struct {
		Room  string `json:"room"`
		After int64  `json:"after"`
	}
	// Leave leaves a room.
	Leave struct {
		Room string `json:"room"`
	}
	// Post is a message for a room: a text, an image, or both. Ref is the sender's own mark.
	Post struct {
		Room  string `json:"room"`
		Text  string `json:"text"`
		Image []byte `json:"image"`
		Ref   string `json:"ref"`
	}
	// Typing reports that someone is writing a message. The server sets Name and forwards it.
	Typing struct {
		Room string `json:"room"`
		Name string `json:"name"`
	}
)

// Events from the server.
type (
	// Reply acknowledges an event. Error is for people to read; the other fields are set where they apply.
	Reply struct {
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
		Name  string `json:"name,omitempty"`
		Room  string `json:"room,omitempty"`
		ID    int64  `json:"id,omitempty"`
		Time  int64  `json:"time,omitempty"`
	}
	// Message is a Post as the room gets it. IDs grow within a room; Time is in milliseconds since 1970.
	Message struct {
		ID        int64  `json:"id"`
		Room      string `json:"room"`
		From      string `json:"from"`
		Text      string `json:"text"`
		Image     []byte `json:"image,omitempty"`
		ImageType string `json:"imageType,omitempty"`
		Ref       string `json:"ref,omitempty"`
		Time      int64  `json:"time"`
	}
	// Presence lists the members of a room and reports a change.
	Presence struct {
		Room    string   `json:"room"`
		Members []string `json:"members"`
		Joined  string   `json:"joined,omitempty"`
		Left    string   `json:"left,omitempty"`
	}
	// RoomInfo is an entry of the list of rooms.
	RoomInfo struct {
		Name    string `json:"name"`
		Members int    `json:"members"`
	}
	// Announcement is a message from an operator. Without Rooms it is for all users.
	Announcement struct {
		Text  string   `json:"text"`
		Rooms []string `json:"rooms,omitempty"`
		Time  int64    `json:"time"`
	}
	// Stats is sent to everyone at regular intervals.
	Stats struct {
		Online int   `json:"online"`
		Uptime int64 `json:"uptime"` // seconds
	}
)

const (
	maxName = 24   // characters
	maxRoom = 24   // characters
	maxText = 2000 // characters
	maxKey  = 64   // bytes

	// maxImage is in bytes. Long-polling sends binary as base64, which is a third longer and must be smaller than
	// socketio.Options.MaxHTTPBufferSize.
	maxImage = 700_000
)

func refuse(err error) Reply { return Reply{Error: err.Error()} }

// cleanName returns a user's name with its white space normalized.
func cleanName(name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	switch {
	case name == "":
		return "", errors.New("please choose a name")
	case utf8.RuneCountInString(name) > maxName:
		return "", fmt.Errorf("a name has at most %d characters", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errors.New("a name consists of printable characters")
	}
	return name, nil
}

// cleanRoom returns the name of a room in lower case with hyphens for white space.
func cleanRoom(room string) (string, error) {
	room = strings.ToLower(strings.Join(strings.Fields(strings.TrimLeft(room, "# ")), "-"))
	switch {
	case room == "":
		return "", errors.New("please give the room a name")
	case utf8.RuneCountInString(room) > maxRoom:
		return "", fmt.Errorf("the name of a room has at most %d characters", maxRoom)
	case strings.ContainsFunc(room, func(r rune) bool {
		return !strings.ContainsRune("-_.", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}):
		return "", errors.New("the name of a room consists of letters, digits, dots and hyphens")
	}
	return room, nil
}

// check trims the text of p and returns the media type of the image, if there is one.
func (p *Post) check() (imageType string, err error) {
	p.Text = strings.TrimSpace(p.Text)
	switch {
	case p.Text == "" && len(p.Image) == 0:
		return "", errors.New("the message is empty")
	case utf8.RuneCountInString(p.Text) > maxText:
		return "", fmt.Errorf("a message has at most %d characters", maxText)
	case len(p.Image) > maxImage:
		return "", fmt.Errorf("an image has at most %d kilobytes", maxImage/1000)
	case len(p.Ref) > maxKey:
		return "", errors.New("the reference of the message is too long")
	case len(p.Image) == 0:
		return "", nil
	}
	// Browsers will show the image as this type, so the type in the message is not trusted.
	switch t := http.DetectContentType(p.Image); t {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return t, nil
	}
	return "", errors.New("images are PNG, JPEG, GIF or WebP")
}
