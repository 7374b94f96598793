import { expect, it } from "@effect/vitest"
import * as MemoryTransport from "effect-wsmux/MemoryTransport"
import type { MuxStream } from "effect-wsmux/MuxStream"
import * as NodeDuplex from "effect-wsmux/NodeDuplex"
import * as Session from "effect-wsmux/Session"
import { Transport } from "effect-wsmux/Transport"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { Duplex } from "node:stream"

const text = (stream: MuxStream) => stream.readable.pipe(Stream.decodeText(), Stream.mkString)

/** Over there: the streams come in the order in which they were opened. Each has a window and an end of its own. */
const serveShell = (session: Session.Session) =>
  Effect.gen(function*() {
    const [stdin, stdout, stderr] = [yield* session.accept, yield* session.accept, yield* session.accept]
    const shell = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("sh", { stdio: "pipe" })),
      (shell) => Effect.sync(() => shell.kill("SIGKILL"))
    )
    const both = yield* NodeDuplex.toByteStream(() => Duplex.from({ readable: shell.stdout, writable: shell.stdin }))
    const complaints = yield* NodeDuplex.toByteStream(() => Duplex.from(shell.stderr))
    yield* Effect.all([
      Stream.run(stdin.readable, both.writable),
      Stream.run(both.readable, stdout.writable),
      Stream.run(complaints.readable, stderr.writable)
    ], { concurrency: 3 })
  }).pipe(Effect.scoped)

/** Over here: what is typed goes out on one stream, and what comes back stays apart. */
const typeInto = (session: Session.Session, commands: string) =>
  Effect.gen(function*() {
    const [stdin, stdout, stderr] = [yield* session.open(), yield* session.open(), yield* session.open()]
    yield* Stream.make(commands).pipe(Stream.encodeText, Stream.run(stdin.writable)) // ends the shell, too
    const [out, complaints] = yield* Effect.all([text(stdout), text(stderr)], { concurrency: 2 })
    return { out, complaints }
  }).pipe(Effect.scoped)

it.scopedLive("session carries input, output and errors of a shell when each has a stream", () =>
  Effect.gen(function*() {
    const pair = yield* MemoryTransport.makePair()
    const here = yield* Effect.provideService(Session.makeClient(), Transport, pair.client)
    const there = yield* Effect.provideService(Session.makeServer(), Transport, pair.server)
    yield* Effect.fork(serveShell(there))
    expect(yield* typeInto(here, "echo hello; echo goodbye >&2\n")).toEqual({
      out: "hello\n",
      complaints: "goodbye\n"
    })
  }))
