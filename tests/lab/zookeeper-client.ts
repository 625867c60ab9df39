import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { classPath } from '../../src/engines/zookeeper/start.ts';
import { until } from './cluster.ts';

/** What an application is told of the service. */
export interface Access {
  /** host:port,.../chroot */
  url: string;
  /** name:password */
  auth: string;
}

/** As an app that uses the service would find it in its environment. */
export function accessOf(cluster: string, service: string, hosts: string[]): Access {
  const kept = (file: string) => JSON.parse(readFileSync(join('/var/lib/phalanx', cluster, file), 'utf8'));
  const addresses = kept('addresses.json') as Record<string, { address: string }>;
  return {
    url: `${hosts.map((host) => `${addresses[host]!.address}:2181`).join(',')}/${service}`,
    auth: `app:${kept('secrets.json')[`${service}/app`]}`,
  };
}

export interface Written {
  ok: number;
  errors: string[];
  /** States that kazoo went through: CONNECTED, SUSPENDED, LOST. */
  states: string[];
  sessions: Set<string>;
  /** Longest time between two acknowledged writes, milliseconds. */
  longestGapMs: number;
  /** When the last one was acknowledged: milliseconds of the machine's monotonic clock, as process.hrtime has it. */
  lastAtMs: number;
  /** What is stored at the end. */
  last: number;
}

/** kazoo in Python, writing numbers one after the other until it is stopped. `session`: its timeout, seconds. */
export async function writer(
  access: Access,
  session = 4,
): Promise<{ written: Written; stop(): Promise<Written> }> {
  const script = join(import.meta.dirname, 'zookeeper-writer.py');
  const child = spawn('/usr/bin/python3', [script, access.url, access.auth, String(session)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const written: Written = {
    ok: 0,
    errors: [],
    states: [],
    sessions: new Set(),
    longestGapMs: 0,
    lastAtMs: 0,
    last: 0,
  };
  let complaints = '';
  child.stderr.on('data', (chunk) => {
    complaints += chunk;
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text);
    if (line.ok !== undefined) {
      written.ok = line.ok;
      if (written.lastAtMs > 0)
        written.longestGapMs = Math.max(written.longestGapMs, line.at - written.lastAtMs);
      written.lastAtMs = line.at;
    } else if (line.error !== undefined) written.errors.push(line.error);
    else if (line.state !== undefined) {
      written.states.push(line.state);
      if (line.state === 'CONNECTED') written.sessions.add(line.session);
    } else written.last = line.last;
  });
  const ended = new Promise<void>((done) => child.on('close', () => done()));
  await until('the writer writes', async () => {
    if (child.exitCode !== null) throw new Error(`the writer ended: ${complaints}`);
    return written.ok > 0;
  });
  return {
    written,
    async stop() {
      child.stdin.end();
      await ended;
      if (written.last === 0) throw new Error(`the writer ended without a last read: ${complaints}`);
      return written;
    },
  };
}

/** ZooKeeper's own command line client (Java), with these commands one after the other; everything it says. */
export async function javaClient(access: Access, commands: string[]): Promise<string> {
  const options = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=error', '-XX:TieredStopAtLevel=1'];
  const running = promisify(execFile)(
    'java',
    [...options, '-cp', classPath, 'org.apache.zookeeper.ZooKeeperMain', '-server', access.url],
    { timeout: 30_000 },
  );
  running.child.stdin!.end(`${[...commands, 'quit'].join('\n')}\n`);
  // Its exit status is that of its last refusal.
  const { stdout, stderr } = await running.catch((error: { stdout: string; stderr: string }) => error);
  return stdout + stderr;
}
