import { spawn } from "node:child_process"
import { once } from "node:events"

/** The connections that send requests at a time. */
const connections = 32

/** Sends requests by `ab` for some seconds, over connections that are kept. */
export const load = async (ab: string, url: string, seconds: number) => {
  const args = ["-q", "-k", "-r", "-c", String(connections), "-t", String(seconds), "-n", "10000000", url]
  const child = spawn(ab, args, { stdio: ["ignore", "pipe", "pipe"] })
  let text = ""
  for (const output of [child.stdout, child.stderr]) output.on("data", (chunk) => text += chunk)
  await once(child, "close")
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? NaN)
  const perSecond = number(/^Requests per second:\s+([\d.]+)/m)
  if (Number.isNaN(perSecond)) throw new Error(`ab failed: ${text.trim()}`)
  return {
    perSecond,
    millis: [number(/^\s+50%\s+(\d+)/m), number(/^\s+99%\s+(\d+)/m)] as const,
    failed: number(/^Failed requests:\s+(\d+)/m) + (Number(/^Non-2xx responses:\s+(\d+)/m.exec(text)?.[1] ?? 0))
  }
}
