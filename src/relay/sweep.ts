/** The entries up to which nothing is swept. */
const few = 1000

/**
 * Returns what deletes the entries of a map that are over. Call it once for each entry that is set, and before where a
 * new entry counts as over. The work is done when the map has grown to twice the entries that the last work left, so
 * that it costs little for each entry.
 */
export const sweep = <A>(map: Map<string, A>, isOver: (value: A) => boolean): () => void => {
  let limit = few
  return () => {
    if (map.size < limit) return
    for (const [key, value] of map) if (isOver(value)) map.delete(key)
    limit = Math.max(few, 2 * map.size)
  }
}
