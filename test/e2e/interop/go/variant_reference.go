//go:build reference

package main

import "github.com/taskcluster/taskcluster/v104/tools/websocktunnel/wsmux"

// The published package.
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

// overruns are the choices of -overrun: the package leaves it to scheduling.
var overruns = map[string]func(){"any": func() {}}
