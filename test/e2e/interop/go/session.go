package main

import (
	"log"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const closeLimit = 2 * time.Second

// run makes a session of a WebSocket, does what the flags ask for, and returns
// after the session's end: whether the -open load, if any, went well.
func run(ws *websocket.Conn, role string, o options) bool {
	// The callback runs under the session's lock, so it does nothing but this.
	closed := make(chan struct{})
	var once sync.Once
	config := muxConfig{
		KeepAliveInterval:    o.keepAlive,
		StreamAcceptDeadline: o.acceptDeadline,
		StreamBufferSize:     o.buffer,
		CloseCallback:        func() { once.Do(func() { close(closed) }) },
	}
	if o.verbose {
		config.Log = log.New(os.Stderr, role+" ", log.Ltime|log.Lmicroseconds)
	}
	var session *muxSession
	if role == "server" {
		session = newServer(ws, config)
	} else {
		session = newClient(ws, config)
	}

	go serve(session, o.serve)
	ok := true
	if o.open != "none" {
		r := load(session, o)
		emit(r)
		ok = r.OK
		if o.close {
			closeSession(session, closed)
			return ok
		}
	}
	<-closed
	emit(event{Event: "closed"})
	return ok
}

// closeSession closes a session and reports its end. One that hangs in a
// socket write may never close: that is reported, and left behind.
func closeSession(session *muxSession, closed <-chan struct{}) {
	go func() { _ = session.Close() }()
	select {
	case <-closed:
		emit(event{Event: "closed"})
	case <-time.After(closeLimit):
		emit(event{Event: "error", Message: "the session did not close"})
	}
}
