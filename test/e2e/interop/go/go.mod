module effect-wsmux-interop

go 1.26.4

require github.com/gorilla/websocket v1.5.3
