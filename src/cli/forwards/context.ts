import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"
import type * as Session from "../../Session.js"
import type { Policy, User } from "../policy/policy.js"
import type * as RareWarning from "../rareWarning.js"
import type { Holders } from "./away.js"
import type * as Place from "./place.js"

/** What the streams of one client are served with. */
export interface Context {
  readonly session: Session.Session
  readonly policy: Policy
  /** Whether the client is still one who may open anything. It may have connected with a token that was taken back. */
  readonly isCurrent: () => boolean
  readonly user: User
  /** Whether every client of the server has to authenticate. */
  readonly isAuthenticated: boolean
  /** The target of streams without a label. */
  readonly target: Option.Option<Place.Place>
  readonly keepAlive: Duration.Duration
  /** Whether targets get the header of the PROXY protocol with the address of the client. */
  readonly proxyProtocol: boolean
  /** The listeners of all clients. */
  readonly holders: Holders
  /** How long a client may be away before its listeners give up their ports. */
  readonly patience: Duration.Duration
  readonly warn: ReturnType<typeof RareWarning.make>
}
