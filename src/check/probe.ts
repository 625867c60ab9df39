import { spawn } from 'node:child_process';
import { connect, isIPv6 } from 'node:net';
import type { Check } from './check.ts';
import { type Cancel, shake } from './connect.ts';

export interface Probe {
  healthy: boolean;
  /** Why it is not, in a few words: 'refused', 'no answer in 500 ms', 'HTTP 503'. */
  why?: string;
  /** How long it took, in milliseconds. */
  ms: number;
}

/** Probes once; never rejects, and answers within `check.timeoutMs`. `check.kind` script runs on this machine. */
export function probe(check: Check, address: string, port: number): Promise<Probe> {
  return new Promise((resolve) => startProbe(check, address, port, resolve));
}

/** As `probe`, with a callback and a way to give up: what the scheduler uses, ten thousand times a second. */
export function startProbe(
  check: Check,
  address: string,
  port: number,
  done: (result: Probe) => void,
): Cancel {
  const started = performance.now();
  let open = true;
  let cancel: Cancel = () => {};
  const finish = (why?: string) => {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    const ms = Math.round((performance.now() - started) * 100) / 100;
    done(why === undefined ? { healthy: true, ms } : { healthy: false, why, ms });
  };
  // A process that was itself stopped for a while finds its timers due before it has read the answers that had come
  // in time: judge after one more look at the sockets (timers, then poll, then immediates).
  const timer = setTimeout(
    () =>
      setImmediate(() => {
        if (!open) return;
        cancel();
        finish(`no answer in ${check.timeoutMs} ms`);
      }),
    check.timeoutMs,
  );
  cancel = attempts[check.kind](check, address, port, finish);
  return () => {
    open = false;
    clearTimeout(timer);
    cancel();
  };
}

type Finish = (why?: string) => void;

const attempts = { tcp, http, amqp, script };

function tcp(_check: Check, address: string, port: number, finish: Finish): Cancel {
  return shake(address, port, (error) => finish(error && words(error)));
}

/** The most of an answer's body that is read to let the server close in peace. */
const patience = 64 * 1024;

/**
 * A fresh connection for each probe, and only the status line is judged: a pool or a redirect would answer for
 * something else than the server. The rest is read and dropped so that the server never sees a broken pipe.
 */
function http(check: Check, address: string, port: number, finish: Finish): Cancel {
  const [low, high] = check.status ?? [200, 399];
  const literal = isIPv6(address) ? `[${address}]` : address;
  const socket = connect({ host: address, port, noDelay: true, autoSelectFamily: false });
  const leave = setTimeout(() => socket.resetAndDestroy(), check.timeoutMs);
  let head = '';
  let read = 0;
  let judged = false;
  const judge = (why?: string) => {
    if (judged) return;
    judged = true;
    finish(why);
  };
  socket.once('connect', () => {
    socket.write(
      `GET ${check.path ?? '/'} HTTP/1.1\r\nHost: ${check.host ?? `${literal}:${port}`}\r\nUser-Agent: phalanx\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
    );
  });
  socket.on('data', (chunk) => {
    read += chunk.length;
    if (read > patience) socket.resetAndDestroy();
    if (judged) return;
    head += chunk.toString('latin1');
    const end = head.indexOf('\n');
    if (end < 0 && head.length < 1024) return;
    const code = Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(code)) judge('not HTTP');
    else judge(code >= low && code <= high ? undefined : `HTTP ${code}`);
  });
  socket.once('end', () => {
    judge('closed without an answer');
    socket.destroy();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => judge(words(error.code ?? error.message)));
  socket.once('close', () => {
    clearTimeout(leave);
    judge('closed without an answer');
  });
  return () => {
    judged = true;
    socket.destroy();
  };
}

/**
 * Greets as a client of AMQP 0-9-1 and wants the server's Connection.Start: a method frame on channel 0 of class 10, method 10
 * (AMQP 0-9-1, 4.2.2 and 1.4.2.1). A broker that is paused, starting or stopping accepts no connection or says nothing;
 * one that speaks another version answers with its own header.
 */
function amqp(_check: Check, address: string, port: number, finish: Finish): Cancel {
  const socket = connect({ host: address, port, noDelay: true, autoSelectFamily: false });
  let said = Buffer.alloc(0);
  const judge = (why?: string) => {
    socket.resetAndDestroy();
    finish(why);
  };
  socket.once('connect', () => socket.write(Buffer.from('AMQP\0\0\x09\x01', 'latin1')));
  socket.on('data', (chunk: Buffer) => {
    said = Buffer.concat([said, chunk]);
    if (said.length >= 4 && said.toString('latin1', 0, 4) === 'AMQP') judge('speaks another version of AMQP');
    else if (said.length >= 1 && said[0] !== 1) judge('not AMQP');
    else if (said.length >= 11)
      judge(said.readUInt16BE(1) === 0 && said.readUInt32BE(7) === 0x000a000a ? undefined : 'not AMQP');
  });
  socket.once('end', () => judge('closed without an answer'));
  socket.on('error', (error: NodeJS.ErrnoException) => finish(words(error.code ?? error.message)));
  socket.once('close', () => finish('closed without an answer'));
  return () => socket.destroy();
}

/** A shell command in a process group of its own, so that giving up leaves no grandchild behind. */
function script(check: Check, address: string, port: number, finish: Finish): Cancel {
  const child = spawn('/bin/sh', ['-c', check.command ?? 'false'], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ADDRESS: address, PORT: String(port) },
  });
  let said = '';
  const hear = (chunk: Buffer) => {
    if (said.length < 1000) said += chunk.toString('utf8');
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  child.once('error', (error) => finish(error.message));
  child.once('exit', (code, signal) => {
    // A child that the script left behind may hold the pipes: what was said so far is enough.
    child.stdout.destroy();
    child.stderr.destroy();
    if (code === 0) return finish();
    const line = said.trim().split('\n').at(-1)?.slice(0, 200);
    finish(`exit ${code ?? signal}${line ? `: ${line}` : ''}`);
  });
  return () => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  };
}

const sentences: Record<string, string> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'no answer',
  EPIPE: 'reset',
  EADDRNOTAVAIL: 'no free local port',
  EMFILE: 'too many open files here',
};

function words(code: string): string {
  return sentences[code] ?? code;
}
