/** How long a claim may be on its way in milliseconds: as long as a command of Redis may take. */
export const claimMillis = 2000

/** A name in memory. */
export interface Name {
  readonly epoch: number
  readonly agents: ReadonlyArray<{
    readonly id: string
    readonly node: string
    readonly program: string | undefined
    /** When the agent connected. */
    readonly at: number
  }>
  /** When a name without agents is forgotten. */
  readonly until: number
}

interface Claim {
  readonly agent: string
  readonly epoch: number
  readonly maxAgents: number
  readonly program?: string | undefined
}

/** Tells what becomes of a claim, which agents stay beside it, and which are superseded. */
export const judge = ({ agent, epoch, maxAgents, program }: Claim, at: number, known: Name | undefined) => {
  const present = (known?.agents ?? []).filter(({ id }) => id !== agent)
  const isRival = (other: Name["agents"][number]) => other.program === undefined || other.program === program
  const isLater = (other: Name["agents"][number]) => other.at > at + claimMillis
  const isSuperseded = known !== undefined && present.length > 0 && (known.epoch > epoch ||
    (known.epoch === epoch &&
      present.some((other) => isLater(other) && (program === undefined || other.program === program))))
  const others = known?.epoch === epoch ? present.filter((other) => isLater(other) || !isRival(other)) : []
  return {
    ruling: isSuperseded ? "superseded" : others.length >= maxAgents ? "full" : "admitted",
    others,
    superseded: present.filter((other) => !others.includes(other)).map(({ id }) => id)
  } as const
}
