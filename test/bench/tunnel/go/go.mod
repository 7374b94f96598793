module effect-wsmux-tunnel-load

go 1.24
