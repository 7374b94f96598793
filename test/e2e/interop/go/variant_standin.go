//go:build !reference

package main

import "effect-wsmux-interop/wsmux"

// The stand-in of this module.
type (
	muxSession = wsmux.Session
	muxConfig  = wsmux.Config
)

var (
	newClient = wsmux.Client
	newServer = wsmux.Server

	errReadTimeout  = wsmux.ErrReadTimeout
	errWriteTimeout = wsmux.ErrWriteTimeout
)

// overruns are the choices of -overrun.
var overruns = map[string]func(){
	"any":  func() {},
	"fail": func() { wsmux.TellOverrun = func(bool) bool { return true } },
	"hole": func() { wsmux.TellOverrun = func(bool) bool { return false } },
}
