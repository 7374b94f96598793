//go:build !reference

package main

import "effect-wsmux-interop/wsmux"

// The stand-in of the interoperability tests.
type (
	muxSession = wsmux.Session
	muxConfig  = wsmux.Config
)

var (
	newClient = wsmux.Client
	newServer = wsmux.Server
)
