import { type Transport, TypeId } from "effect-wsmux/Transport"

/** A transport with some of its parts replaced, to observe a session or to simulate a network. */
export const withParts = (transport: Transport, parts: Partial<Transport>): Transport => ({
  [TypeId]: TypeId,
  localAddress: transport.localAddress,
  remoteAddress: transport.remoteAddress,
  maxMessageSize: transport.maxMessageSize,
  listen: (listener) => transport.listen(listener),
  send: (parts) => transport.send(parts),
  pollWritable: () => transport.pollWritable(),
  receiveCount: () => transport.receiveCount(),
  ping: transport.ping,
  ...(transport.renew && { renew: () => transport.renew!() }),
  ...(transport.resumption && { resumption: () => transport.resumption!() }),
  close: (code, reason, timeout) => transport.close(code, reason, timeout),
  ...parts
})
