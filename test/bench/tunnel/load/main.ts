/**
 * The program of `../go` for machines without Go. `main.js` alone is the target, and `main.js '{"kind":"up",...}'` a
 * client.
 */
import { createInterface } from "node:readline"
import { drive } from "./client.js"
import { serve } from "./target.js"

const tell = (event: object): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

let hear = (_line: string): void => {}
createInterface(process.stdin).on("line", (line) => hear(line)).on("close", () => process.exit())

try {
  const task = process.argv[2]
  if (task === undefined) {
    const answer = await serve(tell)
    hear = (line) => void answer(JSON.parse(line).patience)
  } else {
    const over = new Promise<void>((resolve) => {
      hear = () => resolve()
    })
    await drive(JSON.parse(task), tell, over)
  }
} catch (error) {
  tell({ event: "failed", message: (error as Error).message })
}
