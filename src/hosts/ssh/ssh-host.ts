import type { Host, RunOptions, RunResult } from '../host.ts';
import { HostRefuses, HostUnreachable } from '../host.ts';
import { Answer, defaultTimeoutMs, ShellTimeout } from '../shell.ts';
import { type Channel, OpenTimeout } from './channel.ts';
import { Master, NoConnection } from './master.ts';
import type { Mux } from './mux.ts';
import { compileRound, newMark, splitRound } from './round.ts';

/** Longest time that a host may take to grant a session or a forwarded connection. */
const openMs = 5_000;
/** sshd grants ten sessions a connection (MaxSessions, sshd_config(5)); two are left to others. */
const sessionsAtOnce = 8;

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const language = 'LANG=C.UTF-8';

/**
 * What sshd runs: sh as root, whatever the user's own shell is, in words that every login shell takes alike. Only root owns the root folder; id(1)
 * would be a process more on every round. sudo speaks a language that notRoot understands. The script comes on standard input and is never an argument.
 */
const remoteCommand = `test -O / && exec /bin/sh -s; exec env LC_ALL=C.UTF-8 sudo -n -H -- /bin/sh -s`;

/** The script as it is sent: one command, so that a cut one does not run half; what it starts reads nothing of it. */
const sent = (script: string): string =>
  `{\n${path}\n${language}\nexport PATH LANG\n${script}\n} </dev/null\nexit $?\n`;

interface Waiting {
  script: string;
  options: RunOptions;
  resolve(result: RunResult): void;
  reject(error: unknown): void;
}

/**
 * A real machine, reached by the system's own ssh. Scripts that are given in the same turn of the event loop, and want no progress, are
 * one round trip: whoever looks at a host at the same time looks with one script.
 */
export class SshHost implements Host {
  name: string;
  /** Scripts sent so far: round trips. */
  rounds = 0;
  #master: Master;
  #waiting: Waiting[] = [];
  #sessions = 0;
  #queue: (() => void)[] = [];

  constructor(name: string, home: string, destination: string) {
    this.name = name;
    this.#master = new Master(home, destination);
  }

  async connect(): Promise<void> {
    try {
      await this.#master.mux();
    } catch (error) {
      if (error instanceof NoConnection) throw new HostUnreachable(this.name, error.message);
      throw error;
    }
  }

  giveUp(): void {
    this.#master.giveUp();
  }

  run(script: string, options: RunOptions = {}): Promise<RunResult> {
    if (options.alone || options.onLine !== undefined || options.signal !== undefined)
      return this.#round(script, options);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ script, options, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => this.#flush());
    });
  }

  /** Runs the script and shows what it says as it says it, until it ends. Gives its exit status. */
  async show(script: string, out: NodeJS.WritableStream, err: NodeJS.WritableStream): Promise<number> {
    const channel = await this.#with((mux) => mux.exec(remoteCommand, openMs), true);
    this.rounds++;
    channel.on('stderr', (chunk: Buffer) => err.write(chunk));
    channel.on('data', (chunk: Buffer) => out.write(chunk));
    channel.end(sent(script));
    return new Promise((resolve, reject) => {
      channel.on('over', () => resolve(channel.exit ?? 255));
      channel.on('error', (error) => reject(new HostUnreachable(this.name, error.message)));
    });
  }

  /** A TCP connection from the host to an address and port that it can reach. Rejects with HostUnreachable. */
  async forward(address: string, port: number, timeoutMs: number): Promise<Channel> {
    try {
      return await this.#with((mux) => mux.forward(address, port, timeoutMs), false);
    } catch (error) {
      if (error instanceof HostUnreachable) throw error;
      throw new HostUnreachable(this.name, `port ${port}: ${(error as Error).message}`);
    }
  }

  /** Ends the connection that commands share. */
  end(): Promise<void> {
    return this.#master.end();
  }

  async #flush(): Promise<void> {
    const round = this.#waiting.splice(0);
    if (round.length === 1) {
      const { script, options, resolve, reject } = round[0]!;
      return this.#round(script, options).then(resolve, reject);
    }
    const timeoutMs = Math.max(...round.map(({ options }) => options.timeoutMs ?? defaultTimeoutMs));
    const mark = newMark();
    try {
      const scripts = round.map(({ script }) => script);
      const { stdout, stderr } = await this.#send(compileRound(scripts, mark), { timeoutMs });
      const results = splitRound(stdout, stderr, mark);
      for (const [at, { resolve, reject }] of round.entries()) {
        const result = results[at];
        if (result) resolve(result);
        else reject(new HostUnreachable(this.name, 'ended the script early'));
      }
    } catch (error) {
      for (const { reject } of round) reject(error);
    }
  }

  async #round(script: string, options: RunOptions): Promise<RunResult> {
    const answer = new Answer(options.onLine);
    const { stderr, exit } = await this.#send(script, options, answer);
    answer.stderr = stderr;
    return answer.end(exit);
  }

  async #send(
    script: string,
    { timeoutMs = defaultTimeoutMs, signal }: RunOptions,
    answer?: Answer,
  ): Promise<{ stdout: string; stderr: string; exit: number }> {
    await this.#session();
    try {
      const channel = await this.#with((mux) => mux.exec(remoteCommand, openMs), true);
      this.rounds++;
      return await this.#talk(channel, script, timeoutMs, signal, answer);
    } catch (error) {
      if (error instanceof HostUnreachable || signal?.aborted) throw error;
      throw new HostUnreachable(this.name, (error as Error).message);
    } finally {
      this.#sessions--;
      this.#queue.shift()?.();
    }
  }

  async #session(): Promise<void> {
    if (this.#sessions >= sessionsAtOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#sessions++;
  }

  #talk(
    channel: Channel,
    script: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    answer: Answer | undefined,
  ): Promise<{ stdout: string; stderr: string; exit: number }> {
    return new Promise((resolve, reject) => {
      let stdout = '';
      let stderr = '';
      const settle = (end: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        end();
      };
      const giveUp = (reason: unknown) =>
        settle(() => {
          channel.destroy();
          reject(reason);
        });
      const abort = () => giveUp(signal?.reason);
      const timer = setTimeout(
        () => giveUp(new HostUnreachable(this.name, new ShellTimeout(timeoutMs).message)),
        timeoutMs,
      );
      signal?.addEventListener('abort', abort);
      const decoder = new TextDecoder();
      channel.on('stderr', (chunk: Buffer) => {
        stderr += decoder.decode(chunk, { stream: true });
      });
      channel.setEncoding('utf8').on('data', (chunk: string) => {
        if (answer) answer.take(chunk);
        else stdout += chunk;
      });
      channel.on('error', (error) => giveUp(new HostUnreachable(this.name, error.message)));
      const ended = () => {
        if (!channel.readableEnded || !channel.over) return;
        const refused = notRoot(stderr, channel.exit);
        if (refused) giveUp(new HostRefuses(this.name, refused));
        else if (channel.exit === undefined) giveUp(new HostUnreachable(this.name, 'went away meanwhile'));
        else settle(() => resolve({ stdout, stderr, exit: channel.exit! }));
      };
      channel.on('end', ended);
      channel.on('over', ended);
      channel.end(sent(script));
    });
  }

  /**
   * Opens a channel; a connection that was there before and turns out to be dead is made anew, once. Silence is a sign of death
   * where the host itself has to answer, not where a third party may drop packets.
   */
  async #with(open: (mux: Mux) => Promise<Channel>, silenceIsDeath: boolean): Promise<Channel> {
    for (;;) {
      let found: { mux: Mux; fresh: boolean };
      try {
        found = await this.#master.mux();
      } catch (error) {
        if (error instanceof NoConnection) throw new HostUnreachable(this.name, error.message);
        throw error;
      }
      try {
        return await open(found.mux);
      } catch (error) {
        const dead = (silenceIsDeath && error instanceof OpenTimeout) || !found.mux.alive;
        if (!dead) throw error;
        await this.#master.end();
        if (found.fresh) throw new HostUnreachable(this.name, (error as Error).message);
      }
    }
  }
}

/** Why there is no root shell on the host, when there is none. That a host cannot resolve its own name sudo says also when all is well. */
export function notRoot(stderr: string, exit: number | undefined): string | undefined {
  if (exit === 127 && /^env: .*sudo/m.test(stderr)) return 'the user is not root, and the host has no sudo';
  const said = [...stderr.matchAll(/^sudo: (?!unable to resolve host)(.*?)\r?$/gm)].at(-1)?.[1];
  if (exit !== 1 || said === undefined) return undefined;
  return `the user is not root, and sudo refuses: ${said}. Let it be root without a password (sudoers: NOPASSWD)`;
}
