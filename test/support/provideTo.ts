import * as Session from "effect-wsmux/Session"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** The session that the tags of adapters stand for: a `Session`, or a `ReconnectingSession`. */
type Streams = Context.Tag.Service<Session.StreamOpener> & Context.Tag.Service<Session.StreamAcceptor>

/** Provides a session to a layer of an adapter. */
export const provideTo = <A, E>(
  layer: Layer.Layer<A, E, Session.StreamOpener | Session.StreamAcceptor>,
  session: Streams
): Layer.Layer<A, E> =>
  Layer.provide(
    layer,
    Layer.succeedContext(Context.add(Context.make(Session.StreamOpener, session), Session.StreamAcceptor, session))
  )
