/** Whether a WebSocket can be made for the URL: `ws://` or `wss://`, a host, and no fragment. */
export const isWebSocketUrl = (url: string): boolean =>
  /^wss?:\/\/[^/]/.test(url) && !url.includes("#") && URL.canParse(url)
