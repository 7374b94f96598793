/**
 * The life of a stream, as its frames tell it. Transitions are named from our side.
 *
 * ```text
 *    we open                               the peer opens
 *       │                                        │
 *       ▼      recvClose (refused)               ▼
 *    Opening ───────────────────▶ Closed ◀─── Pending
 *       │  │                       ▲  ▲    recvClose (cancelled)
 *       │  │ cancel     recvClose  │  │    sendClose (refused)
 *       │  └──────────▶ Cancelled ─┘  │          │
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
 * `Cancelled` is an open that nobody waits for any more (its recvClose leads to Closed, too). A FIN before the peer's ACK
 * would be forgotten by a Go peer, so the id stays reserved until the late ACK comes, and *that* is answered by FIN.
 */
export type State =
  | "Opening"
  | "Cancelled"
  | "Pending"
  | "Open"
  | "HalfClosedLocal"
  | "HalfClosedRemote"
  | "Closed"

export type Event = "cancel" | "recvAccept" | "sendAccept" | "sendClose" | "recvClose"

const table: Record<State, Partial<Record<Event, State>>> = {
  Opening: { cancel: "Cancelled", recvAccept: "Open", recvClose: "Closed" },
  Cancelled: { recvAccept: "Open", recvClose: "Closed" },
  Pending: { sendAccept: "Open", sendClose: "Closed", recvClose: "Closed" },
  Open: { sendClose: "HalfClosedLocal", recvClose: "HalfClosedRemote" },
  HalfClosedLocal: { recvClose: "Closed" },
  HalfClosedRemote: { sendClose: "Closed" },
  Closed: {}
}

/** The state that follows, or undefined where the event has no place: a fault, to be ignored and counted. */
export const next = (state: State, event: Event): State | undefined => table[state][event]

/** Whether bytes of the peer concern anybody in this state; before the stream is accepted they are an overrun. */
export const receives = (state: State): boolean => state !== "HalfClosedRemote" && state !== "Closed"
