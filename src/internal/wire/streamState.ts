/**
 * The states of a stream and their transitions. The names of the events take the view of this end.
 *
 * ```text
 *    this end opens                        the peer opens
 *       │                                        │
 *       ▼      recvClose (refused)               ▼
 *    Opening ───────────────────▶ Closed ◀─── AwaitingAccept
 *       │  │                       ▲  ▲    recvClose (cancelled)
 *       │  │ cancel     recvClose  │  │    sendClose (refused)
 *       │  └──────────▶ Cancelling ┘  │          │
 *       │ recvAccept        │         │          │
 *       │        recvAccept │         │          │ sendAccept
 *       ▼    (left at once) ▼         │          │
 *       └────────────────▶ Open ◀─────│──────────┘
 *                           │         │
 *               ┌───────────┴──┐      │
 *     sendClose ▼    recvClose ▼      │
 *    HalfClosedLocal  HalfClosedRemote│
 *     recvClose │    sendClose │      │
 *               └──────────────┴──────┘
 * ```
 *
 * Two further states exist between peers that speak the dialect, where an opener may send bytes and its end at once:
 *
 * ```text
 *    Opening ── sendClose ──▶ OpeningEnded ── recvAccept ──▶ HalfClosedLocal
 *    AwaitingAccept ── recvEarlyClose ──▶ AwaitingAcceptEnded ── sendAccept ──▶ HalfClosedRemote
 * ```
 *
 * From both, `recvClose` and `sendClose` of the acceptor lead to `Closed`, as from the states before. A RESET counts as
 * the close of its sender's half.
 *
 * `Cancelling` is the state of an open whose caller no longer waits. A Go peer forgets a FIN that arrives before its
 * ACK. So the id stays reserved until the late ACK comes, and the session answers the ACK with FIN.
 */
export type State =
  | "Opening"
  | "OpeningEnded"
  | "Cancelling"
  | "AwaitingAccept"
  | "AwaitingAcceptEnded"
  | "Open"
  | "HalfClosedLocal"
  | "HalfClosedRemote"
  | "Closed"

export type Event = "cancel" | "recvAccept" | "sendAccept" | "sendClose" | "recvClose" | "recvEarlyClose"

const table: Record<State, Partial<Record<Event, State>>> = {
  Opening: { cancel: "Cancelling", recvAccept: "Open", recvClose: "Closed", sendClose: "OpeningEnded" },
  OpeningEnded: { recvAccept: "HalfClosedLocal", recvClose: "Closed" },
  Cancelling: { recvAccept: "Open", recvClose: "Closed" },
  AwaitingAccept: {
    sendAccept: "Open",
    sendClose: "Closed",
    recvClose: "Closed",
    recvEarlyClose: "AwaitingAcceptEnded"
  },
  AwaitingAcceptEnded: { sendAccept: "HalfClosedRemote", sendClose: "Closed", recvClose: "Closed" },
  Open: { sendClose: "HalfClosedLocal", recvClose: "HalfClosedRemote" },
  HalfClosedLocal: { recvClose: "Closed" },
  HalfClosedRemote: { sendClose: "Closed" },
  Closed: {}
}

/** Returns the next state, or undefined when the event is a fault in this state. The session counts and ignores it. */
export const next = (state: State, event: Event): State | undefined => table[state][event]

/** Returns whether a DAT is valid in this state. Before the stream is accepted, only the early credit covers bytes. */
export const receives = (state: State): boolean =>
  state !== "HalfClosedRemote" && state !== "AwaitingAcceptEnded" && state !== "Closed"

/** Returns whether this end opened the stream and the peer has not answered. */
export const isOpening = (state: State): boolean =>
  state === "Opening" || state === "OpeningEnded" || state === "Cancelling"

/** Returns whether the peer opened the stream and this end has not answered. */
export const isAwaitingAccept = (state: State): boolean => state === "AwaitingAccept" || state === "AwaitingAcceptEnded"
