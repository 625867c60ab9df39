/** A health check as the file says it; durations in milliseconds. */
export interface Check {
  kind: 'tcp' | 'http' | 'amqp' | 'script';
  /** http: path of the request, e.g. /healthz. */
  path?: string;
  /** http: Host header, default the address. */
  host?: string;
  /** http: status codes that are healthy, default 200 to 399. */
  status?: [number, number];
  /** script: a shell command line run on the director (or, for readiness, on the member's host); ADDRESS and PORT are in its environment; exit 0 is healthy. */
  command?: string;
  intervalMs: number;
  timeoutMs: number;
  /** Consecutive successes before a server comes in; consecutive failures before it goes out. */
  rise: number;
  fall: number;
}
