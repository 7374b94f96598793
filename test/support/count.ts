/** Reads a number from an environment variable, or takes the standard one. A mistyped number fails the run. */
export const count = (variable: string, standard: number, least = 1): number => {
  const given = process.env[variable]
  if (given === undefined) return standard
  const value = Number(given)
  if (!Number.isSafeInteger(value) || value < least) {
    throw new Error(`${variable}: "${given}" is not a whole number from ${least} on`)
  }
  return value
}
