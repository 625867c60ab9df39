import type { Duplex } from 'node:stream';

/**
 * A machine that work is done on. All work is one POSIX sh script on standard input, answered in JSON lines on
 * standard output: `nsenter` into a lab host here, `ssh HOST sh` there.
 */
export interface Host {
  name: string;
  /** Runs the script; one round trip. Rejects with HostUnreachable when the host is down, frozen or does not answer in time. Other failures of the script are in the result. */
  run(script: string, options?: RunOptions): Promise<RunResult>;
  /** Connects, where that takes a time of its own, so that what is asked afterwards is answered within its deadline. Rejects with HostUnreachable. */
  connect?(): Promise<void>;
  /** Waits no longer for a connection that is being made: until it is there, the host does not answer. */
  giveUp?(): void;
}

export interface RunOptions {
  timeoutMs?: number;
  /** Called for each JSON line as it arrives (progress). */
  onLine?: (line: unknown) => void;
  signal?: AbortSignal;
  /** Never in one round trip with what others ask of the host: it is judged by its own time, and asked again until it is well. */
  alone?: boolean;
}

export interface RunResult {
  exit: number;
  /** Standard output's lines that are JSON objects, parsed. */
  lines: Record<string, unknown>[];
  /** Other standard output. */
  text: string;
  stderr: string;
}

export class HostUnreachable extends Error {
  override name = 'HostUnreachable';
  host: string;
  why: string;
  constructor(host: string, why: string) {
    super(`${host}: ${why}`);
    this.host = host;
    this.why = why;
  }
}

/** The host answers, and whoever we come as may not work there: that is for a person to change, not for time. */
export class HostRefuses extends HostUnreachable {
  override name = 'HostRefuses';
}

/** How the control machine gets at hosts and their ports, whatever they are. */
export interface Reach {
  host(name: string): Host;
  /** A TCP stream to a port of a host's address as seen from the cluster's network. Rejects with HostUnreachable. */
  connect(host: string, port: number, timeoutMs: number): Promise<Duplex>;
  /** An address and port on the control machine's side that client libraries can dial for this host's port (lab: the same; ssh: a forwarded port). */
  endpoint(host: string, port: number): Promise<{ host: string; port: number }>;
}
