/** How many of something a run is told to make by a variable, or so many: a mistyped number must not make it one of none. */
export const count = (variable: string, standard: number, least = 1): number => {
  const given = process.env[variable]
  if (given === undefined) return standard
  const value = Number(given)
  if (!Number.isSafeInteger(value) || value < least) {
    throw new Error(`${variable}: "${given}" is not a whole number from ${least} on`)
  }
  return value
}
