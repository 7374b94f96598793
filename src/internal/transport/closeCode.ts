/**
 * The close code of an end that gives a connection up and whose platform cannot do so without a close frame, as in a
 * browser. The peer takes it for a loss: the session may go on over another connection. Scripts may not send 1006.
 */
export const abandonedCode = 4006
