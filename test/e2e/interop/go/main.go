// Command peer is the Go side of the interoperability tests: a wsmux session
// over a WebSocket that serves streams, opens streams, or both.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

type options struct {
	listen, dial   string
	proxy          string
	role           string
	buffer         int
	keepAlive      time.Duration
	acceptDeadline time.Duration
	overrun        string
	tunnel, token  string
	redial         time.Duration
	serve, open    string
	streams        int
	opening        int
	bytes          int64
	repeatFor      time.Duration
	close          bool
	verbose        bool
	stdin          bool
}

func main() {
	o := parse()
	if o.stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	if o.dial != "" {
		dial(o)
	}
	listen(o)
}

func parse() options {
	var o options
	flag.StringVar(&o.listen, "listen", "", "address to accept WebSockets on, e.g. 127.0.0.1:0")
	flag.StringVar(&o.dial, "dial", "", "WebSocket URL to connect to")
	flag.StringVar(&o.proxy, "proxy", "", "two secrets, with a comma between: listen as a proxy like websocktunnel's")
	flag.StringVar(&o.tunnel, "tunnel", "", "name to dial for, as a client of websocktunnel's proxy")
	flag.StringVar(&o.token, "token", "", "the token to show for -tunnel")
	flag.DurationVar(&o.redial, "redial", 0, "with -tunnel: how long after a loss to dial again (0: never)")
	flag.StringVar(&o.role, "role", "", "client or server (default: server when listening, client when dialling)")
	flag.IntVar(&o.buffer, "buffer", 1024, "bytes of StreamBufferSize")
	flag.DurationVar(&o.keepAlive, "keepalive", 10*time.Second, "keep-alive interval")
	flag.DurationVar(&o.acceptDeadline, "accept-deadline", 30*time.Second, "how long an open may take")
	flag.StringVar(&o.overrun, "overrun", "any", "a call that waits at an overrun: fail, hole or any")
	flag.StringVar(&o.serve, "serve", "none", "echo, sink, source, http, hold or none")
	flag.StringVar(&o.open, "open", "none", "echo, sink, source, http or none")
	flag.IntVar(&o.streams, "streams", 1, "streams of an -open round")
	flag.IntVar(&o.opening, "opening", 50, "opens of a round that are under way at once")
	flag.Int64Var(&o.bytes, "bytes", 1024, "bytes of each -open stream")
	flag.DurationVar(&o.repeatFor, "repeat-for", 0, "repeat the -open round for that long")
	flag.BoolVar(&o.close, "close", false, "close the session after the -open result")
	flag.BoolVar(&o.verbose, "verbose", false, "log the session to standard error")
	flag.BoolVar(&o.stdin, "stdin", false, "exit when standard input ends")
	flag.Parse()
	if err := o.check(); err != nil {
		fatal(err)
	}
	overruns[o.overrun]()
	return o
}

func (o *options) check() error {
	if (o.listen == "") == (o.dial == "") {
		return errors.New("give one of -listen and -dial")
	}
	if o.role == "" {
		o.role = "server"
		if o.dial != "" {
			o.role = "client"
		}
	}
	if o.role != "client" && o.role != "server" {
		return fmt.Errorf("unknown role %q", o.role)
	}
	if _, ok := services[o.serve]; !ok && o.serve != "http" && o.serve != "none" {
		return fmt.Errorf("unknown service %q", o.serve)
	}
	if _, ok := drivers[o.open]; !ok && o.open != "http" && o.open != "none" {
		return fmt.Errorf("unknown load %q", o.open)
	}
	if _, ok := overruns[o.overrun]; !ok {
		return fmt.Errorf("-overrun %s is not in this package", o.overrun)
	}
	if o.buffer < 1 || o.streams < 1 || o.opening < 1 || o.bytes < 0 || o.bytes > maxPattern {
		return errors.New("-buffer, -streams, -opening or -bytes is out of range")
	}
	return nil
}

func dial(o options) {
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	header := http.Header{}
	if o.tunnel != "" {
		header.Set(tunnelHeader, o.tunnel)
		header.Set("Authorization", "Bearer "+o.token)
	}
	for isFirst := true; ; isFirst = false {
		ws, answer, err := dialer.Dial(o.dial, header)
		if err == nil {
			if o.tunnel != "" {
				emit(event{Event: "listening", Address: answer.Header.Get(urlHeader)})
			}
			ok := run(ws, o.role, o)
			if o.redial == 0 && ok {
				os.Exit(0)
			}
			if o.redial == 0 {
				os.Exit(1)
			}
		} else if isFirst || answer != nil && answer.StatusCode/100 == 4 {
			// websocktunnel's client gives up where it is refused
			fatal(err)
		}
		time.Sleep(o.redial)
	}
}

func listen(o options) {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		fatal(err)
	}
	address := listener.Addr().String()
	emit(event{Event: "listening", Address: address})
	if o.proxy != "" {
		fatal(http.Serve(listener, newProxy(address, o)))
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			run(ws, o.role, o)
		}
	})))
}
