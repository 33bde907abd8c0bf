// Chat is a web chat: rooms, who is online and who is typing, images, acknowledged messages. It shows how a
// Socket.IO server lives next to other HTTP handlers.
//
//	npm ci --prefix examples/chat
//	go run ./examples/chat
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gorilla/mux"

	"github.com/myriad-rt/myriad/socketio"
)

//go:embed web
var web embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "TCP address to listen on")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal("chat: ", err)
	}
}

// run serves the chat on addr until ctx ends.
func run(ctx context.Context, addr string) error {
	client, err := clientFiles()
	if err != nil {
		return err
	}
	page, err := fs.Sub(web, "web")
	if err != nil {
		return err
	}
	server := socketio.NewServer(&socketio.Options{ClientFiles: client})
	chat := newChat(server)

	router := mux.NewRouter()
	router.PathPrefix("/socket.io/").Handler(server)
	router.Path("/announce").Methods(http.MethodPost).Handler(
		http.NewCrossOriginProtection().Handler(http.HandlerFunc(chat.announce))) // not for the forms of other sites
	router.PathPrefix("/").Methods(http.MethodGet, http.MethodHead).Handler(secure(http.FileServerFS(page)))
	httpServer := &http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	go chat.tick(ctx, 10*time.Second)

	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), httpServer.Shutdown(ctx)) // sockets first: net/http does not know them
}

// clientFiles returns the official client for browsers, installed by npm.
func clientFiles() (fs.FS, error) {
	const dist = "node_modules/socket.io-client/dist"
	for _, dir := range []string{"examples/chat/" + dist, dist} {
		if _, err := os.Stat(dir + "/socket.io.js"); err == nil {
			return os.DirFS(dir), nil
		}
	}
	return nil, errors.New("the Socket.IO client for browsers is missing; " +
		"run `npm ci --prefix examples/chat` in the project's root folder")
}

// secure restricts the page to content from this server.
func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}
