/** `npm run simulate` runs random programs by their seeds. `simulate.ts` explains the programs. */
import { type Options, parse, usage } from "./options.js"
import { simulate } from "./simulate.js"

const run = ({ count, from, shows }: Options): number => {
  const began = performance.now()
  let told = began
  const failed = new Array<number>()
  for (let seed = from; seed < from + count; seed++) {
    const { failure, hash, trace } = simulate(seed)
    if (shows) console.log(`${trace.join("\n")}\n${hash}`)
    if (failure !== undefined) {
      failed.push(seed)
      if (!shows) console.log(`seed ${seed}: ${failure}\n  npm run simulate -- --seed ${seed}`)
    }
    const now = performance.now()
    if (now - told < progressMillis) continue
    told = now
    process.stderr.write(`${seed + 1 - from} of ${count} seeds, ${failed.length} failed\n`)
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  if (!shows) console.log(`${count} seeds from ${from} on in ${seconds} s: ${failed.length} failed`)
  return failed.length === 0 ? 0 : 1
}

const progressMillis = 5000

const main = (): number => {
  try {
    const options = parse(process.argv.slice(2))
    if (options !== undefined) return run(options)
    console.log(usage)
    return 0
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return 2
  }
}

process.exitCode = main()
