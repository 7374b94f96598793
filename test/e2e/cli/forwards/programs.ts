import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFile, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort } from "../../../support/freePort.js"
import { programs } from "../../../support/programs.js"
import { within } from "../../../support/within.js"
import { folder } from "./commands.js"

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export const run = (file: string, args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
  Effect.async<Result>((resume) => {
    const options = { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 }
    const child = execFile(
      file,
      args,
      options,
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  }).pipe(within("60 seconds", `${file} ${args.join(" ")}`))

/** An sshd with keys of its own. `options` lets a client of OpenSSH in, and ignores the files of the user. */
export const sshd: Effect.Effect<
  { readonly port: number; readonly options: ReadonlyArray<string> },
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const here = yield* folder
  const file = (name: string) => join(here, name)
  for (const name of ["host", "user"]) {
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file(name)])
  }
  if (process.getuid?.() === 0 && !existsSync("/run/sshd")) {
    yield* Effect.acquireRelease(
      Effect.sync(() => mkdirSync("/run/sshd", { mode: 0o755 })),
      () => Effect.sync(() => rmSync("/run/sshd", { recursive: true, force: true }))
    )
  }
  const port = yield* freePort
  const settings = [
    ...[
      "ListenAddress 127.0.0.1",
      `Port ${port}`,
      `HostKey ${file("host")}`,
      `AuthorizedKeysFile ${file("user.pub")}`
    ],
    ...[
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "StrictModes no",
      "PidFile none"
    ],
    ...["PermitRootLogin prohibit-password", "Subsystem sftp internal-sftp", ""]
  ]
  writeFileSync(file("sshd_config"), settings.join("\n"))
  writeFileSync(file("known_hosts"), `[127.0.0.1]:${port} ${readFileSync(file("host.pub"), "utf8")}`)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(programs.OpenSSH!, ["-D", "-e", "-f", file("sshd_config")], { stdio: "pipe" })),
    (child) => Effect.sync(() => child.kill())
  )
  yield* Effect.promise(() => once(child.stderr, "data")).pipe(within("30 seconds", "sshd"))
  return {
    port,
    options: [
      ...["-F", "none", "-i", file("user"), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"],
      ...["-o", `UserKnownHostsFile=${file("known_hosts")}`, "-o", "GlobalKnownHostsFile=/dev/null"],
      ...["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    ]
  }
})
