module effect-wsmux-bench

go 1.26.4

require (
	effect-wsmux-interop v0.0.0
	github.com/gorilla/websocket v1.5.3
)

replace effect-wsmux-interop => ../../e2e/interop/go
