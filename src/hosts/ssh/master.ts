import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Mux, NoMaster } from './mux.ts';

/** Longest time for a TCP connection and the key exchange of a new master. Milliseconds. */
const connectMs = 10_000;
/** Longest time for a master that is there already to answer on its own socket. */
const greetMs = 2_000;
/** An unused master ends after this many seconds; until then the next command finds the connection warm. */
const persist = 600;
/** A host that could not be connected to is not tried again for so long: many may ask for it at the same time. */
const patienceMs = 3_000;
/** A Unix socket's path has at most 107 bytes (unix(7)); we add our process's number to it while it is made, and ssh 17. */
const longestPath = 107 - '.4194304'.length - 17;
/** So many connections are made at once. */
const atOnce = 64;

/** No connection to the host can be had; the message says why and what to do. */
export class NoConnection extends Error {
  override name = 'NoConnection';
}

/**
 * Where the control socket of a destination lies: in the cluster's folder where that is short enough, else below the user's
 * runtime folder. The folder is for its owner only: whoever can open the socket is on the host.
 */
export function controlPath(home: string, destination: string): string {
  const name = createHash('sha256').update(destination).digest('hex').slice(0, 12);
  const own = join(home, 'ssh', name);
  if (Buffer.byteLength(own) <= longestPath) return own;
  const cluster = createHash('sha256').update(home).digest('hex').slice(0, 8);
  return join(
    process.env['XDG_RUNTIME_DIR'] ?? `/tmp/phalanx-${process.getuid?.()}`,
    `phalanx-${cluster}`,
    name,
  );
}

/** What ssh is told for every destination. All else is the user's: ssh_config, agent, known_hosts, jumps. */
export function masterArguments(path: string, destination: string): string[] {
  const options = {
    ControlMaster: 'yes',
    ControlPath: path,
    ControlPersist: String(persist),
    // A question would wait for ever: an unknown host key is refused, a password is not asked for.
    BatchMode: 'yes',
    ConnectTimeout: String(connectMs / 1000),
    // A connection whose host has gone is given up after 15 s.
    ServerAliveInterval: '5',
    ServerAliveCountMax: '3',
    // What the user's configuration wants for sessions of a person.
    ClearAllForwardings: 'yes',
    RemoteCommand: 'none',
    RequestTTY: 'no',
    PermitLocalCommand: 'no',
  };
  const given = Object.entries(options).flatMap(([key, value]) => [
    '-o',
    `${key}=${value.replaceAll('%', '%%')}`,
  ]);
  return ['-N', '-f', ...configuration(), ...given, '--', destination];
}

/** Another ssh_config than the user's own, where the environment names one (ssh -F). */
function configuration(): string[] {
  const file = process.env['PHALANX_SSH_CONFIG'];
  return file === undefined || file === '' ? [] : ['-F', file];
}

/** The connection to one destination: a master ssh that outlives the command, and our channel to it. */
export class Master {
  readonly #path: string;
  readonly #destination: string;
  #mux: Promise<Mux> | undefined;
  #refused: { at: number; why: NoConnection } | undefined;
  #open: Mux | undefined;
  /** The ssh that is connecting. */
  #child: ChildProcess | undefined;
  /** Whoever waits for the connection is told so when it is given up. */
  #givenUp: NoConnection | undefined;
  #tired = tired();

  constructor(home: string, destination: string) {
    this.#path = controlPath(home, destination);
    this.#destination = destination;
  }

  /** The open connection; makes it where there is none. Rejects with NoConnection. */
  async mux(): Promise<{ mux: Mux; fresh: boolean }> {
    this.#unlessRefused();
    const known = await Promise.race([this.#mux?.catch(() => undefined), this.#tired.promise]);
    if (known?.alive) return { mux: known, fresh: false };
    // Whoever has waited for an attempt that failed is told so, and makes none of his own.
    this.#unlessRefused();
    let fresh = false;
    const made = this.#make(() => {
      fresh = true;
    });
    this.#mux = made;
    const mux = await Promise.race([made, this.#tired.promise]);
    return { mux, fresh };
  }

  #unlessRefused(): void {
    if (this.#givenUp) throw this.#givenUp;
    if (this.#refused && performance.now() - this.#refused.at < patienceMs) throw this.#refused.why;
  }

  async #make(starting: () => void): Promise<Mux> {
    try {
      this.#open = await Mux.connect(this.#path, greetMs).catch((error: Error) => {
        if (!(error instanceof NoMaster)) throw error;
        starting();
        return this.#start();
      });
    } catch (error) {
      if (error instanceof NoConnection) this.#refused = { at: performance.now(), why: error };
      throw error;
    }
    this.#refused = undefined;
    if (this.#givenUp) {
      this.#givenUp = undefined;
      this.#tired = tired();
    }
    return this.#open;
  }

  /** Ends the master: its connection is dead, or nobody needs it any more. */
  async end(): Promise<void> {
    const mux = await this.#mux?.catch(() => undefined);
    mux?.close();
    this.#mux = undefined;
    await run([
      '-O',
      'exit',
      '-o',
      `ControlPath=${this.#path.replaceAll('%', '%%')}`,
      '--',
      this.#destination,
    ]);
    // It made its socket under another name, and removes only that.
    rmSync(this.#path, { force: true });
  }

  /**
   * Waits no longer for a connection that is being made, for anybody, and does not stay alive for it. ssh itself goes on: who asks later may
   * find it made.
   */
  giveUp(): void {
    if (this.#givenUp || this.#open?.alive) return;
    this.#givenUp = new NoConnection('ssh has no connection yet');
    this.#tired.reject(this.#givenUp);
    this.#leave();
  }

  #leave(): void {
    this.#child?.unref();
    (this.#child?.stderr as Socket | undefined)?.unref();
  }

  /**
   * Makes the socket under a name of its own and moves it into place: ssh leaves one alone that is there already, also where nobody listens any more, and
   * then stays in the background without one, for ever. Of two that start at once one is replaced, and ends when it has been unused for long enough.
   */
  async #start(): Promise<Mux> {
    mkdirSync(join(this.#path, '..'), { recursive: true, mode: 0o700 });
    const own = `${this.#path}.${process.pid}`;
    rmSync(own, { force: true });
    for (let attempt = 1; ; attempt++) {
      const { exit, stderr } = await inTurn(() =>
        run(masterArguments(own, this.#destination), (child) => {
          this.#child = child;
          if (this.#givenUp) this.#leave();
        }),
      );
      this.#child = undefined;
      if (exit === 0) break;
      // A gateway that is asked by many at once drops some (MaxStartups, sshd_config(5)).
      if (attempt === 3 || !/kex_exchange_identification|Connection (closed|reset) by/.test(stderr))
        throw new NoConnection(explained(stderr, this.#destination));
      await wait(attempt * (200 + Math.random() * 400));
    }
    try {
      renameSync(own, this.#path);
      // It has just done the key exchange, maybe with a hundred others on the same cores: it answers, if not at once.
      return await Mux.connect(this.#path, connectMs);
    } catch (error) {
      throw new NoConnection(`ssh connects, but ${(error as Error).message} at ${this.#path}`);
    }
  }
}

function tired(): PromiseWithResolvers<never> {
  const made = Promise.withResolvers<never>();
  made.promise.catch(() => {});
  return made;
}

let connecting = 0;
const queue: (() => void)[] = [];

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (connecting >= atOnce) await new Promise<void>((resolve) => queue.push(resolve));
  connecting++;
  try {
    return await work();
  } finally {
    connecting--;
    queue.shift()?.();
  }
}

/** Runs ssh until it ends or, as a master, goes to the background. */
function run(
  given: string[],
  begun: (child: ChildProcess) => void = () => {},
): Promise<{ exit: number; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('ssh', given, { stdio: ['ignore', 'ignore', 'pipe'] });
    begun(child);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.once('error', (error) => reject(new NoConnection(`ssh cannot be run here: ${error.message}`)));
    // Not when its streams close: the master in the background may hold them.
    child.once('exit', (code) => {
      setImmediate(() => {
        child.stderr.destroy();
        resolve({ exit: code ?? 255, stderr });
      });
    });
  });
}

/** Why ssh could not connect, as a sentence with what to do next. */
export function explained(stderr: string, destination: string): string {
  const said = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[@* ]+$/.test(line));
  if (/HOST IDENTIFICATION HAS CHANGED/.test(stderr))
    return `its host key is not the one in known_hosts: find out why before you trust it (ssh-keygen -R removes the old one)`;
  if (/Host key verification failed|No .* host key is known/.test(stderr))
    return `its host key is not known here: connect once by hand (ssh ${destination}) and compare its fingerprint, or put it into known_hosts`;
  if (/Permission denied/.test(stderr))
    return `ssh is not let in (${said.at(-1)}): load the key into the agent (ssh-add), or name it in ssh_config`;
  return said.at(-1) ?? 'ssh ended without a word';
}
