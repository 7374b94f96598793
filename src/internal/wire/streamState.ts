/**
 * The life of a stream, as its frames tell it. Transitions are named from our side.
 *
 * ```text
 *    we open                               the peer opens
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
 * `Cancelling` is an open that nobody waits for any more (its recvClose leads to Closed, too). A FIN before the peer's
 * ACK would be forgotten by a Go peer, so the id stays reserved until the late ACK comes, and *that* is answered by
 * FIN.
 */
export type State =
  | "Opening"
  | "Cancelling"
  | "AwaitingAccept"
  | "Open"
  | "HalfClosedLocal"
  | "HalfClosedRemote"
  | "Closed"

export type Event = "cancel" | "recvAccept" | "sendAccept" | "sendClose" | "recvClose"

const table: Record<State, Partial<Record<Event, State>>> = {
  Opening: { cancel: "Cancelling", recvAccept: "Open", recvClose: "Closed" },
  Cancelling: { recvAccept: "Open", recvClose: "Closed" },
  AwaitingAccept: { sendAccept: "Open", sendClose: "Closed", recvClose: "Closed" },
  Open: { sendClose: "HalfClosedLocal", recvClose: "HalfClosedRemote" },
  HalfClosedLocal: { recvClose: "Closed" },
  HalfClosedRemote: { sendClose: "Closed" },
  Closed: {}
}

/** The state that follows, or undefined where the event has no place: a fault, to be ignored and counted. */
export const next = (state: State, event: Event): State | undefined => table[state][event]

/** Whether bytes of the peer concern anybody in this state; before the stream is accepted they are an overrun. */
export const receives = (state: State): boolean => state !== "HalfClosedRemote" && state !== "Closed"
