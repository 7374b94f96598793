import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/** `up` is the way from the end that dialled, and `down` is the way back. */
export type Direction = "up" | "down"

/** How a link ends: by an ordinary end of the connection, or by a reset. */
export type Loss = "end" | "reset"

/**
 * - `Flowing`: the lane passes bytes and ends on
 * - `Stalled`: the lane does not read, so the buffers of the sender fill, and bytes and ends wait for `resume`
 * - `Vanishing`: the lane reads and passes on neither bytes nor ends
 */
type State = "Flowing" | "Stalled" | "Vanishing"

/** The bytes of one read on a link without a rate. */
const chunkSize = 64 * 1024

/** The interval in milliseconds at which a limited lane passes bytes on. */
const beat = 20

/**
 * One direction of a link. A lane reads only bytes that it can pass on at once. All others wait at the sender: in its
 * kernel, and then in its process.
 */
class Lane {
  passed = 0
  state: State = "Flowing"
  readonly #from: Net.Socket
  readonly #to: Net.Socket
  #limit = Infinity
  #reached = (): void => {}
  /** Bytes per second. */
  #rate: number
  #due = 0
  #timer: NodeJS.Timeout | undefined

  constructor(from: Net.Socket, to: Net.Socket, rate: number) {
    this.#from = from
    this.#to = to
    this.#rate = rate
    from.on("readable", this.move)
    from.on("end", () => this.#conclude("end"))
    from.on("error", () => this.#conclude("reset"))
    to.on("drain", this.move)
    this.setRate(rate)
  }

  setRate(rate: number): void {
    this.#rate = rate
    clearInterval(this.#timer)
    if (rate === Infinity) return this.move()
    let last = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      // an unused rate is lost
      this.#due = Math.ceil(this.#rate * (now - last) / 1000)
      last = now
      this.move()
    }, beat)
  }

  /** Passes on this many more bytes, then calls back and passes on no further byte. */
  after(bytes: number, reached: () => void): void {
    this.#limit = this.passed + bytes
    this.#reached = reached
  }

  readonly move = (): void => {
    while (this.state !== "Stalled" && !this.#to.writableNeedDrain) {
      const due = this.#rate === Infinity ? chunkSize : this.#due
      const size = Math.min(this.#from.readableLength, due, this.#limit - this.passed)
      if (size === 0) {
        if (this.#from.readableLength === 0) this.#from.read(0) // makes the socket read on, or emit its end
        return
      }
      const chunk = this.#from.read(size) as Buffer
      if (this.state === "Vanishing") continue
      this.#due -= size
      this.passed += size
      this.#to.write(chunk)
      if (this.passed === this.#limit) return this.#reached()
    }
  }

  #conclude(how: Loss): void {
    clearInterval(this.#timer)
    if (this.state !== "Flowing") return
    if (how === "end") this.#to.end()
    else this.#to.resetAndDestroy()
  }
}

/** With the smallest buffer of Node a socket reads no further before its bytes are passed on. */
const settings = { allowHalfOpen: true, noDelay: true, highWaterMark: 1 }

/** A connection that goes through the proxy. */
interface Link {
  readonly sockets: readonly [near: Net.Socket, far: Net.Socket]
  readonly lanes: Readonly<Record<Direction, Lane>>
}

export interface Options {
  /** Bytes per second in each direction. Default unlimited. */
  readonly rate?: number
}

/** A TCP proxy on the loopback that passes all bytes on until the test causes a fault. */
export class FaultProxy {
  readonly #server: Net.Server
  readonly #rate: number
  readonly #links = new Set<Link>()
  readonly #sockets = new Set<Net.Socket>()

  private constructor(target: number, { rate = Infinity }: Options) {
    this.#rate = rate
    this.#server = Net.createServer(settings, (near) => {
      this.#join(near, Net.connect({ ...settings, host: "127.0.0.1", port: target }))
    })
  }

  /** Starts a proxy in front of a port of this machine, while the scope is open. */
  static readonly make = (target: number, options: Options = {}): Effect.Effect<FaultProxy, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.async<FaultProxy>((resume) => {
        const proxy = new FaultProxy(target, options)
        proxy.#server.listen(0, "127.0.0.1", () => resume(Effect.succeed(proxy)))
      }),
      (proxy) =>
        Effect.sync(() => {
          proxy.#server.close()
          for (const socket of proxy.#sockets) socket.resetAndDestroy()
        })
    )

  get port(): number {
    return (this.#server.address() as Net.AddressInfo).port
  }

  /** The number of bytes that the proxy has passed on. */
  passed(direction: Direction): number {
    return [...this.#links].reduce((sum, { lanes }) => sum + lanes[direction].passed, 0)
  }

  /** Ends both connections of every link now. */
  lose(how: Loss): void {
    for (const link of this.#links) {
      this.#links.delete(link)
      for (const lane of Object.values(link.lanes)) lane.state = "Vanishing"
      for (const socket of link.sockets) {
        // destroy would send a reset when the socket has unread bytes
        if (how === "end") socket.end()
        else socket.resetAndDestroy()
      }
    }
  }

  /** Loses every link after this many more bytes. */
  loseAfter(direction: Direction, bytes: number, how: Loss): void {
    for (const { lanes } of this.#links) lanes[direction].after(bytes, () => this.lose(how))
  }

  /** Stops to read in these directions. */
  stall(...directions: ReadonlyArray<Direction>): void {
    this.#set("Stalled", directions)
  }

  /** Makes the link half-open: the proxy drops all bytes and ends of both sides from now on. */
  vanish(): void {
    this.#set("Vanishing", ["up", "down"])
  }

  resume(): void {
    this.#set("Flowing", ["up", "down"])
  }

  setRate(rate: number): void {
    for (const { lanes } of this.#links) Object.values(lanes).forEach((lane) => lane.setRate(rate))
  }

  #set(state: State, directions: ReadonlyArray<Direction>): void {
    for (const { lanes } of this.#links) {
      for (const direction of directions) {
        lanes[direction].state = state
        lanes[direction].move()
      }
    }
  }

  #join(near: Net.Socket, far: Net.Socket): void {
    const lanes = { up: new Lane(near, far, this.#rate), down: new Lane(far, near, this.#rate) }
    this.#links.add({ sockets: [near, far], lanes })
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket))
    }
  }
}
