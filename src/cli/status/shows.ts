import type { RelayStatus } from "./relay.js"
import type { SessionStatus, Status, StreamStatus } from "./status.js"
import type { Cell, Tools } from "./watch.js"

// The pages embed the functions below as text, so the functions use nothing around them.

/** Shows sessions, forwards and streams. */
export const showTunnel = (status: Status, { bytes, put, right, span, table }: Tools): void => {
  const rate = (perSecond: number): string => `${bytes(perSecond)}/s`
  const age = (at: number | null): string => at === null ? "" : span(status.at - at)
  const of = (number: number, worker: number | null): string => worker === null ? `${number}` : `${worker}.${number}`

  const stateOf = (session: SessionStatus): string => {
    const resumed = session.resumed === null || session.resumed === 0 ? "" : `, resumed ${session.resumed}×`
    const since = session.state === "suspended" ? ` for ${age(session.suspendedSince)}` : ""
    return `${session.state}${since}${resumed}`
  }

  const sessionRow = (session: SessionStatus): ReadonlyArray<Cell> => [
    of(session.number, session.worker),
    session.peer,
    session.user ?? "–",
    session.dialect,
    stateOf(session),
    right(age(session.since)),
    right(session.roundTripMillis === null ? "–" : `${session.roundTripMillis.toFixed(1)} ms`),
    right(String(session.streams)),
    right(`${rate(session.rateIn)} · ${bytes(session.bytesIn)}`),
    right(`${rate(session.rateOut)} · ${bytes(session.bytesOut)}`)
  ]

  const streamRow = (stream: StreamStatus): ReadonlyArray<Cell> => [
    `${of(stream.session, stream.worker)}/${stream.id}`,
    stream.label || "–",
    stream.from ?? "–",
    stream.to ?? "–",
    stream.state,
    right(age(stream.since) || "–"),
    right(stream.bytesIn === null ? "–" : bytes(stream.bytesIn)),
    right(stream.bytesOut === null ? "–" : bytes(stream.bytesOut)),
    right(`${bytes(stream.unread)} · ${bytes(stream.unsent)}`)
  ]

  const { lastEnd, total } = status
  put("total-sessions", String(total.sessions))
  put("total-streams", String(total.streams))
  put("rate-in", rate(total.rateIn))
  put("rate-out", rate(total.rateOut))
  put("bytes-in", `${bytes(total.bytesIn)} in all`)
  put("bytes-out", `${bytes(total.bytesOut)} in all`)
  table("sessions", status.sessions.map(sessionRow), total.sessions)
  table("forwards", status.forwards.map(({ listen, option, target }) => [option, listen, target]))
  table("streams", status.streams.map(streamRow), total.streams)
  put("last-end", lastEnd === null ? "No session has ended." : `${lastEnd.peer}: ${lastEnd.reason}`)
  put("last-end-age", lastEnd === null ? "" : `${age(lastEnd.at)} ago`)
}

/** Shows the nodes of a relay and their names. */
export const showRelay = (status: RelayStatus, { bytes, put, right, span, table }: Tools): void => {
  const { total } = status
  put("total-agents", String(total.agents))
  put("total-running", String(total.running))
  put("total-requests", String(total.requests))
  put("total-in", bytes(total.bytesIn))
  put("total-out", bytes(total.bytesOut))
  table(
    "nodes",
    status.nodes.map(({ id, told, url }) =>
      told === null
        ? [url, id, "no answer", ...["", "", "", "", "", "", ""].map(right)]
        : [
          url,
          id,
          told.draining ? "draining" : "up",
          right(span(status.at - told.startedAt)),
          right(String(told.agents)),
          right(String(told.names)),
          right(String(told.running)),
          right(String(told.requests)),
          right(bytes(told.bytesIn)),
          right(bytes(told.bytesOut))
        ]
    )
  )
  table(
    "names",
    status.names.map(({ agents, name, nodes, streams }) => [
      name,
      right(String(agents)),
      right(String(streams)),
      nodes.join(" ")
    ])
  )
}
