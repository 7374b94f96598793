/** The stream that each buffered stream reads. */
const origins = new WeakMap<object, object>()

export const setOrigin = <A extends object>(derived: A, origin: object): A => {
  origins.set(derived, originOf(origin))
  return derived
}

export const originOf = (stream: object): object => origins.get(stream) ?? stream
