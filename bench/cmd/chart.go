//go:build linux

package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// colour and name of each server in the charts.
var looks = map[target]struct{ colour, name string }{
	floor:  {"#9aa5b1", "floor: epoll alone"},
	myriad: {"#0b7a75", "Myriad"},
	own:    {"#0b7a75", "Myriad"},
	node:   {"#d1603d", "Node"},
}

const (
	font    = `font-family="system-ui, sans-serif"`
	ink     = "#1f2933"
	faint   = "#e4e7eb"
	softInk = "#616e7c"
)

// bar is a group of bars: one figure on all servers.
type bar struct {
	title string
	task  string
	metric
}

var barGroups = []bar{
	{"memory per idle connection", "idle/websocket", resident},
	{"CPU per connection made", "idle/websocket", connectCPU},
	{"CPU per acknowledged event", "ack/1000/32", cpu},
	{"CPU per delivery, 1,000 in the room", "broadcast/1000", cpu},
	{"CPU per delivery, 10,000 in the room", "broadcast/10000", cpu},
	{"CPU per delivery, 1,000 rooms of 10", "rooms/1000", cpu},
	{"CPU per event of a chat", "chat/1000", cpu},
	{"CPU per ping and pong", "heartbeat/10000", cpu},
}

// bars draws the usage of the servers as a share of the Node.js server's.
func bars(r results) []byte {
	const (
		left, right, top = 300, 110, 54
		width            = 900
		thick, gap       = 13, 16
	)
	var s bytes.Buffer
	groupHeight := 3*thick + gap
	height := top + len(barGroups)*groupHeight + 10
	open(&s, width, height, "What the server uses, as a share of the Node server")
	legend(&s, left, 42, floor, myriad, node)
	scale := float64(width - left - right)
	for i, g := range barGroups {
		y := top + i*groupHeight + gap/2
		whole, ok := r.value(g.task, node, g.metric)
		if !ok {
			continue
		}
		text(&s, left-12, y+thick*3/2+5, "end", 14, ink, g.title)
		for j, on := range []target{floor, myriad, node} {
			v, ok := r.value(g.task, on, g.metric)
			if !ok {
				continue
			}
			length := max(1, scale*v/whole)
			fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", left, y+j*thick, length, thick-2, looks[on].colour)
			text(&s, left+int(length)+6, y+j*thick+thick-3, "start", 11, softInk, number(v)+" "+g.unit)
		}
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}

// point is a figure on a curve.
type point struct {
	x    float64
	task string
}

// panel is a diagram with a curve for each server.
type panel struct {
	title, axis string
	metric
	points []point
}

// columns is the number of panels in a row.
const columns = 3

var panels = []panel{
	{"CPU per acknowledged event, 32 B", "clients", cpu, []point{{100, "ack/100/32"}, {1000, "ack/1000/32"}, {10_000, "ack/10000/32"}}},
	{"CPU per acknowledged event, 1,000 clients", "bytes", cpu, []point{{32, "ack/1000/32"}, {1024, "ack/1000/1024"}, {65_536, "ack/1000/65536"}}},
	{"CPU per acknowledged event, 10,000 clients", "bytes", cpu, []point{{32, "ack/10000/32"}, {1024, "ack/10000/1024"}, {65_536, "ack/10000/65536"}}},
	{"CPU per delivery of a broadcast", "clients in the room", cpu, []point{{100, "broadcast/100"}, {1000, "broadcast/1000"}, {10_000, "broadcast/10000"}}},
	{"CPU per delivery, 10,000 clients in rooms", "rooms", cpu, []point{{10, "rooms/10"}, {100, "rooms/100"}, {1000, "rooms/1000"}}},
	{"memory per idle connection, collected", "connections", collected, []point{{1000, "idle/1000"}, {10_000, "idle/websocket"}, {19_000, "idle/19000"}}},
}

// curves draws how cost grows. All axes are logarithmic.
func curves(r results) []byte {
	const (
		width       = 960
		first, each = 60, 270 // where the first row of panels begins, and its height
		side, space = 52, 50
	)
	var s bytes.Buffer
	rows := (len(panels) + columns - 1) / columns
	open(&s, width, first+rows*each, "How cost grows: server CPU in µs, resident memory in bytes")
	legend(&s, side, 46, floor, myriad, node)
	wide := (width - side - columns*space) / columns
	for i, p := range panels {
		p.draw(&s, r, side+i%columns*(wide+space), first+i/columns*each, wide, each)
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}

// draw draws a panel whose curves start at left.
func (p panel) draw(s *bytes.Buffer, r results, left, y, width, height int) {
	top, bottom := y+44, y+height-52
	low, high := math.Inf(1), math.Inf(-1)
	for _, at := range p.points {
		for _, on := range wholeServer {
			if v, ok := r.value(at.task, on, p.metric); ok && v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if low > high {
		return
	}
	low, high = math.Pow(2, math.Floor(math.Log2(low))), math.Pow(2, math.Floor(math.Log2(high))+1)
	yOf := func(v float64) float64 {
		return float64(bottom) - float64(bottom-top)*(math.Log(v)-math.Log(low))/(math.Log(high)-math.Log(low))
	}
	first, last := math.Log(p.points[0].x), math.Log(p.points[len(p.points)-1].x)
	xOf := func(x float64) float64 { return float64(left) + float64(width)*(math.Log(x)-first)/(last-first) }

	text(s, left-24, top-16, "start", 13, ink, p.title)
	step := 2.
	for math.Log2(high/low)/math.Log2(step) > 8 {
		step *= 2
	}
	for v := low; v <= high*1.001; v *= step {
		fmt.Fprintf(s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/>`+"\n", left, left+width, yOf(v), yOf(v), faint)
		label := fmt.Sprint(v)
		if v >= 1000 {
			label = thousands(int(v))
		}
		text(s, left-7, int(yOf(v))+4, "end", 11, softInk, label)
	}
	for _, at := range p.points {
		text(s, int(xOf(at.x)), bottom+18, "middle", 11, softInk, thousands(int(at.x)))
	}
	text(s, left+width/2, bottom+36, "middle", 12, softInk, p.axis)
	for _, on := range wholeServer {
		curve(s, r, p, on, xOf, yOf)
	}
}

func curve(s *bytes.Buffer, r results, p panel, on target, xOf, yOf func(float64) float64) {
	var line, dots bytes.Buffer
	for _, at := range p.points {
		if v, ok := r.value(at.task, on, p.metric); ok && v > 0 {
			fmt.Fprintf(&line, "%.1f,%.1f ", xOf(at.x), yOf(v))
			fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", xOf(at.x), yOf(v), looks[on].colour)
		}
	}
	fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n%s", line.Bytes(), looks[on].colour, dots.Bytes())
}

// open begins a picture with a title, on white, so that it can be read on dark pages too.
func open(s *bytes.Buffer, width, height int, title string) {
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" %s>`+"\n<title>%s</title>\n"+
		`<rect width="%d" height="%d" rx="6" fill="#ffffff"/>`+"\n", width, height, font, html.EscapeString(title), width, height)
	text(s, 20, 24, "start", 15, ink, title)
}

func legend(s *bytes.Buffer, x, y int, servers ...target) {
	for _, on := range servers {
		fmt.Fprintf(s, `<rect x="%d" y="%d" width="10" height="10" rx="2" fill="%s"/>`+"\n", x, y-9, looks[on].colour)
		text(s, x+15, y, "start", 12, softInk, looks[on].name)
		x += 34 + 7*len(looks[on].name)
	}
}

func text(s *bytes.Buffer, x, y int, anchor string, size int, colour, content string) {
	fmt.Fprintf(s, `<text x="%d" y="%d" text-anchor="%s" font-size="%d" fill="%s">%s</text>`+"\n", x, y, anchor, size, colour, html.EscapeString(content))
}
