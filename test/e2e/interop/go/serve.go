package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
)

// services maps the names of -serve to what is done with an accepted stream.
var services = map[string]func(net.Conn){
	"echo":   serveEcho,
	"sink":   serveSink,
	"source": serveSource,
	"hold":   func(net.Conn) {},
}

// serve accepts streams until the session ends.
func serve(session *muxSession, kind string) {
	if kind == "none" {
		return
	}
	if kind == "http" {
		serveHTTP(session)
		return
	}
	for {
		stream, err := session.Accept()
		if err != nil {
			return
		}
		go services[kind](stream)
	}
}

func serveEcho(stream net.Conn) {
	defer finish(stream)
	_, _ = io.Copy(stream, stream)
}

func serveSink(stream net.Conn) {
	defer finish(stream)
	h := sha256.New()
	if _, err := io.Copy(h, stream); err == nil {
		_, _ = io.WriteString(stream, hex.EncodeToString(h.Sum(nil)))
	}
}

func serveSource(stream net.Conn) {
	defer finish(stream)
	var request [8]byte
	if _, err := io.ReadFull(stream, request[:]); err != nil {
		return
	}
	n := binary.LittleEndian.Uint64(request[:])
	if n > maxPattern {
		return
	}
	h := sha256.New()
	if _, err := io.CopyN(stream, io.TeeReader(newPattern(1), h), int64(n)); err == nil {
		_, _ = fmt.Fprintf(stream, "%x", h.Sum(nil))
	}
}
