export interface Load {
  perSecond: number;
  requests: number;
  /** Requests that were not answered, or not with 200. */
  errors: number;
}

export type Kind = 'requests' | 'connections';

/** One thread with 32 connections: kept open, or a new one for each request. */
export function wrkArgs(kind: Kind, seconds: number, url: string): string[] {
  const close = kind === 'connections' ? ['-H', 'Connection: close'] : [];
  return ['wrk', '-t1', '-c32', `-d${seconds}s`, '--timeout', '5s', ...close, url];
}

/** What wrk printed. Throws when it is not what wrk prints. */
export function parseWrk(printed: string): Load {
  const number = (pattern: RegExp): number | undefined => {
    const found = pattern.exec(printed);
    return found ? found.slice(1).reduce((sum, text) => sum + Number(text), 0) : undefined;
  };
  const perSecond = number(/^Requests\/sec:\s+([\d.]+)/m);
  const requests = number(/^\s*(\d+) requests in /m);
  if (perSecond === undefined || requests === undefined) throw new Error(`wrk said: ${printed.trim()}`);
  const broken = number(/Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/) ?? 0;
  const refused = number(/Non-2xx or 3xx responses: (\d+)/) ?? 0;
  return { perSecond, requests, errors: broken + refused };
}
