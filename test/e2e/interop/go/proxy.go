package main

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// proxyBuffer is the window at both ends of a tunnel.
	proxyBuffer = 4 << 20

	tunnelHeader = "X-Websocktunnel-Id"
	urlHeader    = "X-Websocktunnel-Client-Url"
)

// proxy is a stand-in of the websocktunnel service, in the parts that a client
// sees. A client dials in with a token for the id of its tunnel. Each request of
// a viewer for /ID/PATH becomes a request for /PATH on a stream to that client.
type proxy struct {
	options
	address  string
	secrets  []string
	upgrader websocket.Upgrader

	mu      sync.Mutex
	tunnels map[string]*muxSession
}

func newProxy(address string, o options) *proxy {
	return &proxy{
		options: o,
		address: address,
		secrets: strings.Split(o.proxy, ","),
		tunnels: map[string]*muxSession{},
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get(tunnelHeader); id != "" {
		p.takeClient(w, r, id)
		return
	}
	p.serveViewer(w, r)
}

func (p *proxy) takeClient(w http.ResponseWriter, r *http.Request, id string) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if err := verify(token, id, p.secrets, time.Now()); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	p.mu.Lock() // until the tunnel is there for viewers
	defer p.mu.Unlock()
	answer := http.Header{urlHeader: {"http://" + p.address + "/" + id}}
	ws, err := p.upgrader.Upgrade(w, r, answer)
	if err != nil {
		return
	}
	p.tunnels[id] = newServer(ws, muxConfig{
		KeepAliveInterval:    p.keepAlive,
		StreamAcceptDeadline: p.acceptDeadline,
		StreamBufferSize:     proxyBuffer,
		CloseCallback:        func() { emit(event{Event: "closed"}) },
	})
}

// serveViewer writes the whole request before it reads any of the answer. When
// the viewer goes it sends FIN, and reads no more of the stream.
func (p *proxy) serveViewer(w http.ResponseWriter, r *http.Request) {
	id, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p.mu.Lock()
	session := p.tunnels[id]
	p.mu.Unlock()
	if session == nil {
		http.Error(w, "no such tunnel", http.StatusNotFound)
		return
	}
	stream, err := session.Open()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer stream.Close()
	defer context.AfterFunc(r.Context(), func() { _ = stream.Close() })()
	request := r.Clone(r.Context())
	request.URL.Path = "/" + path
	answer, err := exchange(stream, request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_ = http.NewResponseController(w).Flush()
	// To close the body would read the rest of it.
	if _, err := io.Copy(flushing{w}, answer.Body); err != nil {
		panic(http.ErrAbortHandler) // a viewer that is still there learns that the answer is cut short
	}
}

func exchange(stream net.Conn, request *http.Request) (*http.Response, error) {
	if err := request.Write(stream); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(stream), request)
}

// flushing passes on each piece of an answer at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
