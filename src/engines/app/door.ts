/** Where clients knock. */
export interface Door {
  host: string;
  port: number;
  /** Path to ask for; undefined: it does not speak HTTP, and a connection that is accepted is an answer. */
  path?: string;
  /** Path of something large. */
  download?: string;
  /** Path that is answered as a websocket. */
  websocket?: string;
}

/** How many websockets are held open. */
export const websockets = 8;
