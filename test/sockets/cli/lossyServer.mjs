import { createServer } from "node:http"

// A WebSocket server whose backlog holds one connection.
import { WebSocketServer } from "ws"

const server = createServer()
new WebSocketServer({ server })
server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => process.send(server.address().port))
