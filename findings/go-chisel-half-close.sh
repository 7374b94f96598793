#!/usr/bin/env bash
# Guess: A tunnel for TCP passes a half-close: a client that has sent all and ended its half still gets the answer, as
#        with a direct connection and with ssh -L.
# Seen:  chisel ends the client's connection at once. The upload arrives whole, its answer is lost, and the client reads
#        a clean end without an error.
# With:  jpillora/chisel 1.11.3, Go 1.26, 2026-11-28
# Output (the target answers when the upload has ended):
#> direct: greeting "hello"
#> direct: upload of 65536 bytes, then 9 bytes of the answer, error <nil>
#> chisel: greeting "hello"
#> chisel: upload of 65536 bytes, then 0 bytes of the answer, error <nil>
set -euo pipefail
command -v go >/dev/null || { echo "Go is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOPATH=$dir/go GOFLAGS="-modcacherw -mod=mod"
cat >go.mod <<'EOF'
module find

go 1.25.1

require github.com/jpillora/chisel v1.11.3
EOF
cat >main.go <<'EOF'
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	chclient "github.com/jpillora/chisel/client"
	chserver "github.com/jpillora/chisel/server"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// listen serves connections on a free port of loopback, and returns the address.
func listen(serve func(net.Conn)) string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				serve(connection)
			}()
		}
	}()
	return listener.Addr().String()
}

// freePort returns a port of loopback that is free.
func freePort() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// greeting reads what the target says first. A tunnel that is not yet connected refuses or closes the connection.
func greeting(address string) string {
	for attempt := 0; attempt < 50; attempt++ {
		if connection, err := net.Dial("tcp", address); err == nil {
			connection.SetDeadline(time.Now().Add(10 * time.Second))
			text, _ := io.ReadAll(connection)
			connection.Close()
			if len(text) > 0 {
				return string(text)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return ""
}

var received = make(chan int64, 1)

func observe(name, greeter, answerer string) {
	fmt.Printf("%s: greeting %q\n", name, greeting(greeter))
	connection := must(net.Dial("tcp", answerer)).(*net.TCPConn)
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	must(connection.Write(make([]byte, 64*1024)))
	check(connection.CloseWrite())
	answer, err := io.ReadAll(connection)
	fmt.Printf("%s: upload of %d bytes, then %d bytes of the answer, error %v\n", name, <-received, len(answer), err)
}

func main() {
	greeter := listen(func(connection net.Conn) { fmt.Fprint(connection, "hello") })
	answerer := listen(func(connection net.Conn) {
		size, _ := io.Copy(io.Discard, connection)
		fmt.Fprintf(connection, "got %05d", size)
		received <- size
	})
	observe("direct", greeter, answerer)

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	serverPort, greeterPort, answererPort := freePort(), freePort(), freePort()
	server := must(chserver.NewServer(&chserver.Config{}))
	server.Info = false
	check(server.StartContext(ctx, "127.0.0.1", serverPort))
	client := must(chclient.NewClient(&chclient.Config{
		Server: "http://127.0.0.1:" + serverPort,
		Remotes: []string{
			"127.0.0.1:" + greeterPort + ":" + greeter,
			"127.0.0.1:" + answererPort + ":" + answerer,
		},
	}))
	client.Info = false
	check(client.Start(ctx))
	observe("chisel", "127.0.0.1:"+greeterPort, "127.0.0.1:"+answererPort)
}
EOF
go build -o find . 2>build.log || { cat build.log >&2; exit 2; }
seen=$(timeout 40 ./find 2>/dev/null)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
