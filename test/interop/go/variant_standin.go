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
