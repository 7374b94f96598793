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
 * `Cancelling` is the state of an open whose caller no longer waits. A Go peer forgets a FIN that arrives before its
 * ACK. So the id stays reserved until the late ACK comes, and the session answers the ACK with FIN.
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

/** Returns the next state, or undefined when the event is a fault in this state. The session counts and ignores it. */
export const next = (state: State, event: Event): State | undefined => table[state][event]

/** Returns whether a DAT is valid in this state. Before the stream is accepted, every byte is an overrun. */
export const receives = (state: State): boolean => state !== "HalfClosedRemote" && state !== "Closed"
