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

/** What the rule compares of an agent: the time of its token, and its program where the agent tells. */
export interface Ranked {
  readonly epoch: number
  readonly program?: string | undefined
}

/**
 * The rule of names: whether an agent takes the place of another one of the name. The newest token rules. Of two agents
 * with one token, the later one takes the place of an earlier connection of its program, and of an agent that does not
 * tell its program.
 *
 * The scripts of Redis state the rule once more, in Lua (`takesPlace`). A test compares both.
 */
export const takesPlace = (agent: Ranked, other: Ranked, isLater: boolean): boolean =>
  agent.epoch > other.epoch ||
  (agent.epoch === other.epoch && isLater && (other.program === undefined || other.program === agent.program))

interface Claim extends Ranked {
  readonly agent: string
  readonly maxAgents: number
}

/** Tells what becomes of a claim, which agents stay beside it, and which are superseded. */
export const judge = (claim: Claim, at: number, { agents, epoch }: Pick<Name, "agents" | "epoch">) => {
  const present = agents.filter(({ id }) => id !== claim.agent).map((agent) => ({
    agent,
    ranked: { epoch, program: agent.program },
    // of two claims within the time that one may be on its way, the last one is the later one
    isLater: agent.at > at + claimMillis
  }))
  const isSuperseded = present.some(({ isLater, ranked }) => takesPlace(ranked, claim, isLater))
  const [superseded, others] = partition(present, ({ isLater, ranked }) => takesPlace(claim, ranked, !isLater))
  return {
    ruling: isSuperseded ? "superseded" : others.length >= claim.maxAgents ? "full" : "admitted",
    others: others.map(({ agent }) => agent),
    superseded: superseded.map(({ agent }) => agent.id)
  } as const
}

const partition = <A>(items: ReadonlyArray<A>, passes: (item: A) => boolean) =>
  [items.filter(passes), items.filter((item) => !passes(item))] as const
