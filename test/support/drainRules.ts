import type { SessionSnapshot } from "effect-wsmux/SessionSnapshot"
import { other, type Side } from "./numberedEnds.js"
import type { Message } from "./records.js"

type Sides<A> = Record<Side, A>

/** Whether an end's role opens the stream. */
const isOpener = (side: Side, id: number) => (id % 2 === 1) === (side === "client")

/** Checks that no stream is opened behind a GOAWAY that has arrived, and that no drained session accepts a late one. */
export class DrainRules {
  /** The sessions, once the test knows them. */
  readonly snapshot: Sides<() => SessionSnapshot | undefined> = { client: () => undefined, server: () => undefined }
  /** The streams whose opening may still leave: an end had them when the GOAWAY of its peer arrived. */
  readonly #known: Partial<Sides<ReadonlySet<number>>> = {}
  /** The streams whose opening arrived at an end that drained. */
  readonly #late = new Set<number>()
  /** The streams of an end that its peer has accepted, as far as the end knows. */
  readonly #accepted: Sides<Set<number>> = { client: new Set(), server: new Set() }

  /** The broken rule, when there is one. */
  see(from: Side, message: Message): string | undefined {
    switch (message._tag) {
      case "Open":
      case "Syn":
        return this.#known[from]?.has(message.id) === false
          ? `stream ${message.id} is opened although the GOAWAY of the peer has arrived`
          : undefined
      case "Ack":
        return this.#late.has(message.id) && isOpener(other(from), message.id)
          ? `stream ${message.id} is accepted although the session drained before its opening came`
          : undefined
      default:
        return undefined
    }
  }

  /** A message arrives at an open session. */
  arrive(to: Side, message: Message): void {
    const snapshot = this.snapshot[to]()
    switch (message._tag) {
      case "GoAway":
        if (snapshot !== undefined) this.#known[to] ??= new Set(snapshot.streams.map(({ id }) => id))
        break
      case "Open":
      case "Syn":
        if (snapshot?.localDrain !== undefined) this.#late.add(message.id)
        break
      case "Ack":
        if (isOpener(to, message.id)) this.#accepted[to].add(message.id)
    }
  }

  /** The streams of an end that the end knows to be accepted. */
  acceptedOf(side: Side): ReadonlySet<number> {
    return this.#accepted[side]
  }
}
