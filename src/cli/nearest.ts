/** Returns the name that a misspelt one may mean, or undefined where none is near. */
export const nearestTo = (name: string, names: ReadonlyArray<string>): string | undefined => {
  const [nearest] = names.map((other) => ({ other, steps: distance(name, other) })).sort((a, b) => a.steps - b.steps)
  return nearest !== undefined && nearest.steps <= 3 && nearest.steps < name.length ? nearest.other : undefined
}

/** The least number of characters to insert, delete or replace (Levenshtein), for names of at most 40 characters. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, char] of [...a.slice(0, 40)].entries()) {
    const next = [i + 1]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (char === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1)!
}
