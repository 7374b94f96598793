/** Holds a value of a map, and nothing after its removal. */
interface Cell<V> {
  value: V | undefined
}

/**
 * A map for values that come and go in a process that runs on, such as the streams of a session.
 *
 * A `Map` of V8 gets a new table each time that its table is full of removed entries. The old tables stay in the old
 * generation until the next full collection, and keep what they held: a part of all streams then survives each
 * collection of young objects. Here the old tables hold empty cells. This map has values that are never undefined.
 */
export class CellMap<K extends string | number, V extends object> {
  readonly #cells = new Map<K, Cell<V>>()

  get size(): number {
    return this.#cells.size
  }

  has(key: K): boolean {
    return this.#cells.has(key)
  }

  get(key: K): V | undefined {
    return this.#cells.get(key)?.value
  }

  /** Sets the value of a key that the map does not have. */
  add(key: K, value: V): void {
    this.#cells.set(key, { value })
  }

  /** Removes a key, and returns its value. */
  take(key: K): V | undefined {
    const cell = this.#cells.get(key)
    if (cell === undefined) return undefined
    this.#cells.delete(key)
    const { value } = cell
    cell.value = undefined
    return value
  }

  /** The oldest value. */
  get first(): V | undefined {
    for (const cell of this.#cells.values()) return cell.value
    return undefined
  }

  /** All values, oldest first. */
  values(): Array<V> {
    return Array.from(this.#cells.values(), ({ value }) => value!)
  }

  /** Removes all values, and returns them, oldest first. */
  clear(): Array<V> {
    const values = this.values()
    for (const cell of this.#cells.values()) cell.value = undefined
    this.#cells.clear()
    return values
  }
}
