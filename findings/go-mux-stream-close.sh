#!/usr/bin/env bash
# Guess: A stream of a Go multiplexer is a net.Conn. After its Close, Read fails, and the peer's Write fails as well.
# Seen:  Close of a yamux stream ends writing only: Read goes on and gets the peer's answer. Close of a smux stream ends
#        both ways, and the peer's Write still succeeds although its bytes reach no reader.
# With:  hashicorp/yamux 0.1.2, xtaci/smux 1.5.58, Go 1.26.8, 2026-11-28
# Output (one end closes its stream, then the peer writes "answer"):
#> yamux: peer wrote 6 bytes, error <nil>; read "answer", error <nil>
#> smux: peer wrote 6 bytes, error <nil>; read "", error io: read/write on closed pipe
set -euo pipefail
command -v go >/dev/null || { echo "Go is needed" >&2; exit 2; }
expected=$(sed -n 's/^#> //p' "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOPATH=$dir/go GOFLAGS=-modcacherw
cat >main.go <<'EOF'
package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/xtaci/smux"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func observe(name string, near, far net.Conn) {
	deadline := time.Now().Add(5 * time.Second)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	buffer := make([]byte, 16)
	must(near.Write([]byte("question")))
	must(io.ReadFull(far, buffer[:8]))
	if err := near.Close(); err != nil {
		panic(err)
	}
	if _, err := far.Read(buffer); err != io.EOF {
		panic("the peer reads no end")
	}
	wrote, writeError := far.Write([]byte("answer"))
	read, readError := near.Read(buffer)
	fmt.Printf("%s: peer wrote %d bytes, error %v; ", name, wrote, writeError)
	fmt.Printf("read %q, error %v\n", buffer[:read], readError)
}

func main() {
	near, far := net.Pipe()
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	client, server := must(yamux.Client(near, config)), must(yamux.Server(far, config))
	accepted := make(chan net.Conn)
	go func() { accepted <- must(server.Accept()) }()
	opened := must(client.Open())
	observe("yamux", opened, <-accepted)

	near, far = net.Pipe()
	smuxClient, smuxServer := must(smux.Client(near, nil)), must(smux.Server(far, nil))
	go func() { accepted <- must(smuxServer.AcceptStream()) }()
	stream := must(smuxClient.OpenStream())
	observe("smux", stream, <-accepted)
}
EOF
go mod init find >go.log 2>&1
go get github.com/hashicorp/yamux@v0.1.2 github.com/xtaci/smux@v1.5.58 >>go.log 2>&1 || { cat go.log >&2; exit 2; }
go build -o find . >>go.log 2>&1 || { cat go.log >&2; exit 2; }
seen=$(timeout 30 ./find)
echo "$seen"
[[ $seen == "$expected" ]] || { echo "changed; expected:" >&2; echo "$expected" >&2; exit 1; }
