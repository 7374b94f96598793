package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"
)

// httpListener hands the streams of a session to net/http.
type httpListener struct{ *muxSession }

func (l httpListener) Accept() (net.Conn, error) {
	stream, err := l.muxSession.Accept()
	if err != nil {
		return nil, err
	}
	return &httpConn{Conn: stream}, nil
}

func serveHTTP(session *muxSession) {
	server := &http.Server{Handler: routes(), ErrorLog: log.New(io.Discard, "", 0)}
	_ = server.Serve(httpListener{session})
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello from go\n")
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		// Read it all first: HTTP/1 is half duplex unless both sides say otherwise.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPattern))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil || n < 0 || n > maxPattern {
			http.Error(w, fmt.Sprintf("n must be 0 to %d", maxPattern), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		w.Header().Set("X-Sha256", patternSum(1, n))
		_, _ = io.CopyN(w, newPattern(1), n)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		flush := http.NewResponseController(w)
		for i := range 6 {
			_, _ = fmt.Fprintf(w, "chunk %d\n", i+1)
			_ = flush.Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	return mux
}
