// Command load is both ends of the tunnel's benchmark: the target that the
// tunnel connects to, and the client that dials the tunnel. ../load is the same
// program for Node, and describes the conversations.
package main

import (
	"bufio"
	"encoding/json"
	"os"
)

func main() {
	stdin := bufio.NewScanner(os.Stdin)
	lines := make(chan string)
	go func() { // the end of the input ends the process
		for stdin.Scan() {
			lines <- stdin.Text()
		}
		os.Exit(0)
	}()
	if err := run(lines); err != nil {
		tell(map[string]any{"event": "failed", "message": err.Error()})
	}
	select {}
}

func run(lines <-chan string) error {
	if len(os.Args) < 2 {
		return serve(lines)
	}
	var t task
	if err := json.Unmarshal([]byte(os.Args[1]), &t); err != nil {
		return err
	}
	return drive(t, lines)
}

func tell(event map[string]any) { _ = json.NewEncoder(os.Stdout).Encode(event) }
