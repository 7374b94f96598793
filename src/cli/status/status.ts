import * as Schema from "effect/Schema"

const Nullable = <A, I>(schema: Schema.Schema<A, I>) => Schema.NullOr(schema)

/** Bytes of payload since the session began, and in each second of late. `in` is what this end receives. */
const traffic = {
  bytesIn: Schema.Number,
  bytesOut: Schema.Number,
  rateIn: Schema.Number,
  rateOut: Schema.Number
}

export const SessionStatus = Schema.Struct({
  /** Counts the sessions of the process, so that streams can name theirs. */
  number: Schema.Number,
  peer: Schema.String,
  user: Nullable(Schema.String),
  dialect: Schema.Literal("negotiating", "plain", "native"),
  state: Schema.Literal("up", "suspended", "draining"),
  /** Milliseconds since the epoch, as all times here. */
  since: Schema.Number,
  suspendedSince: Nullable(Schema.Number),
  /** How often another WebSocket took over. Null where the session ends with its WebSocket. */
  resumed: Nullable(Schema.Number),
  roundTripMillis: Nullable(Schema.Number),
  streams: Schema.Number,
  ...traffic,
  /** The number of the worker that has the session. */
  worker: Nullable(Schema.Number)
})

export type SessionStatus = typeof SessionStatus.Type

export const ForwardStatus = Schema.Struct({
  /** The option that asks for the forward, such as `-L`. */
  option: Schema.String,
  listen: Schema.String,
  target: Schema.String
})

export type ForwardStatus = typeof ForwardStatus.Type

export const StreamStatus = Schema.Struct({
  session: Schema.Number,
  id: Schema.Number,
  label: Schema.String,
  state: Schema.String,
  /** The ends of a connection. Null for streams without one. */
  from: Nullable(Schema.String),
  to: Nullable(Schema.String),
  since: Nullable(Schema.Number),
  bytesIn: Nullable(Schema.Number),
  bytesOut: Nullable(Schema.Number),
  /** Received bytes that wait for a reader, and written bytes that wait for credit or the network. */
  unread: Schema.Number,
  unsent: Schema.Number,
  worker: Nullable(Schema.Number)
})

export type StreamStatus = typeof StreamStatus.Type

export const SessionEnd = Schema.Struct({ at: Schema.Number, peer: Schema.String, reason: Schema.String })

export type SessionEnd = typeof SessionEnd.Type

/** What a running command tells of itself: the page, `wsmux status` and `/status.json` show it. */
export const Status = Schema.Struct({
  command: Schema.Literal("serve", "connect"),
  version: Schema.String,
  /** The address of the server, without user, password and query. */
  address: Schema.String,
  ready: Schema.Boolean,
  /** Why the command is ready or not, in one line. */
  readiness: Schema.String,
  at: Schema.Number,
  startedAt: Schema.Number,
  total: Schema.Struct({ sessions: Schema.Number, streams: Schema.Number, ...traffic }),
  /** The oldest sessions and streams, at most `maxListed` of each. */
  sessions: Schema.Array(SessionStatus),
  forwards: Schema.Array(ForwardStatus),
  streams: Schema.Array(StreamStatus),
  /** Why the last session ended. */
  lastEnd: Nullable(SessionEnd)
})

export type Status = typeof Status.Type

/** The sessions and the streams that a status lists. A page with more of them is too long to read. */
export const maxListed = 200

/** Adds the status of workers to that of the process that started them. */
export const merge = (own: Status, workers: ReadonlyArray<Status>): Status => {
  const all = [own, ...workers]
  const sum = (count: (status: Status) => number) => all.reduce((sum, status) => sum + count(status), 0)
  const ends = all.flatMap(({ lastEnd }) => lastEnd ?? [])
  return {
    ...own,
    total: {
      sessions: sum(({ total }) => total.sessions),
      streams: sum(({ total }) => total.streams),
      bytesIn: sum(({ total }) => total.bytesIn),
      bytesOut: sum(({ total }) => total.bytesOut),
      rateIn: sum(({ total }) => total.rateIn),
      rateOut: sum(({ total }) => total.rateOut)
    },
    sessions: all.flatMap(({ sessions }) => sessions).slice(0, maxListed),
    forwards: all.flatMap(({ forwards }) => forwards),
    streams: all.flatMap(({ streams }) => streams).slice(0, maxListed),
    lastEnd: ends.reduce<SessionEnd | null>((last, end) => last !== null && last.at >= end.at ? last : end, null)
  }
}
