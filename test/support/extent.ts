/** How far a search or a soak goes: further in CI than at a desk, where a run shows that everything works. */
export const extent = (inCI: number, atDesk: number): number => process.env.CI === undefined ? atDesk : inCI
