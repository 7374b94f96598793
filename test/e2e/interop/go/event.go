package main

import (
	"encoding/json"
	"os"
	"sync"
)

// event is one line of standard output.
type event struct {
	Event   string `json:"event"`
	Address string `json:"address,omitempty"`
	Message string `json:"message,omitempty"`
}

// result is the line that sums up an -open load.
type result struct {
	Event   string   `json:"event"`
	Mode    string   `json:"mode"`
	Streams int      `json:"streams"`
	Bytes   int64    `json:"bytes"`
	OK      bool     `json:"ok"`
	Failed  int      `json:"failed"`
	Errors  []string `json:"errors"`
	Seconds float64  `json:"seconds"`
	Rounds  int      `json:"rounds"`
}

var stdout sync.Mutex

// emit prints one JSON line; sessions may call it at the same time.
func emit(v any) {
	stdout.Lock()
	defer stdout.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(v)
}

// fatal reports why nothing can be done, and ends the program.
func fatal(err error) {
	emit(event{Event: "error", Message: err.Error()})
	os.Exit(1)
}
