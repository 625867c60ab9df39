import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Pretender } from '../../zookeeper/pretender.ts';
import { configFile, keyFile, type RegistrarConfig, stateFile, userFile } from './files.ts';
import { Registrar } from './registrar.ts';

const node = '/locks/registry/web/web@app1';
const patience = { timeout: 10_000, interval: 5 };
let ensemble: Pretender;
let folder: string;
let app: Server | undefined;
let port = 0;
const running: Registrar[] = [];

beforeEach(async () => {
  ensemble = new Pretender(400);
  await ensemble.listen();
  folder = mkdtempSync(join(tmpdir(), 'registrar-'));
  await serve();
});
afterEach(async () => {
  for (const registrar of running.splice(0)) registrar.stop();
  ensemble.close();
  await leave();
  rmSync(folder, { recursive: true });
});

/** The member's server, at the same port each time. */
async function serve(): Promise<void> {
  app = createServer((socket) => socket.destroy());
  await new Promise<void>((done) => app!.listen(port, '127.0.0.1', done));
  port = (app.address() as { port: number }).port;
}
async function leave(): Promise<void> {
  await new Promise((done) => (app ? app.close(done) : done(undefined)));
  app = undefined;
}
function register(): Registrar {
  const config: RegistrarConfig = {
    member: 'web@app1',
    url: ensemble.url,
    path: '/locks/registry/web',
    address: '127.0.0.1',
    port,
    check: { kind: 'tcp', intervalMs: 20, timeoutMs: 500, rise: 1, fall: 2 },
    sessionMs: 400,
  };
  writeFileSync(join(folder, configFile), JSON.stringify(config));
  writeFileSync(join(folder, userFile), 'app:secret');
  const registrar = new Registrar(folder);
  running.push(registrar);
  return registrar;
}
const state = () => readFileSync(join(folder, stateFile), 'utf8').trim();
const owner = () => ensemble.nodes.get(node);
const registered = () => vi.waitFor(() => expect(state()).toBe(`registered ${process.pid}`), patience);

describe('a registrar', () => {
  it('holds a node of its session while the check passes, and makes what is above it', async () => {
    register();
    await registered();
    expect(owner()).toBe(ensemble.opened.at(-1));
    await leave();
    await vi.waitFor(() => expect(owner()).toBeUndefined(), patience);
    await vi.waitFor(() => expect(state()).toBe('its check fails: refused'), patience);
    await serve();
    await registered();
    expect(owner()).toBe(ensemble.opened.at(-1));
  });

  it('registers nobody whose check has never passed', async () => {
    await leave();
    register();
    await vi.waitFor(() => expect(state()).toBe('its check fails: refused'), patience);
    expect(owner()).toBeUndefined();
  });

  it('that is replaced goes on with the session: the node never leaves', async () => {
    const first = register();
    await registered();
    const gone: string[] = [];
    const remove = ensemble.remove.bind(ensemble);
    ensemble.remove = (path) => {
      gone.push(path);
      remove(path);
    };
    first.stop();
    register();
    const before = ensemble.opened.length;
    await vi.waitFor(() => expect(ensemble.opened.length).toBeGreaterThan(before), patience);
    await registered();
    expect(new Set(ensemble.opened).size).toBe(1);
    expect(gone).toEqual([]);
    expect(statSync(join(folder, keyFile)).mode & 0o077).toBe(0);
  });

  it('makes the node again when its session has expired, and when somebody removed it', async () => {
    register();
    await registered();
    const [first] = ensemble.opened;
    ensemble.expire(first!);
    const owned = () => {
      expect(owner()).toBe(ensemble.opened.at(-1));
      expect(owner()).not.toBe(first);
    };
    await vi.waitFor(owned, patience);
    ensemble.remove(node);
    await vi.waitFor(owned, patience);
  });

  it('takes the place of a node that an earlier session left', async () => {
    ensemble.add('/locks/registry');
    ensemble.add('/locks/registry/web');
    ensemble.add(node, 55n);
    register();
    await registered();
    expect(owner()).toBe(ensemble.opened.at(-1));
  });
});
