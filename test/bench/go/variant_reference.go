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
)
