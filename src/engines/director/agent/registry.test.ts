import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Pretender } from '../../zookeeper/pretender.ts';
import type { Listen } from '../tables.ts';
import { Registry } from './registry.ts';

const path = '/locks/registry/web';
const patience = { timeout: 10_000, interval: 5 };
let ensemble: Pretender;
let folder: string;
const open: Registry[] = [];

beforeEach(async () => {
  ensemble = new Pretender(300);
  for (let i = 0; i < 3; i++) await ensemble.listen();
  folder = mkdtempSync(join(tmpdir(), 'registry-'));
});
afterEach(() => {
  for (const registry of open.splice(0)) registry.close();
  ensemble.close();
  rmSync(folder, { recursive: true });
});

const listens = (): Listen[] => [{ registry: { url: ensemble.url, path } } as Listen];
/** A registry that is followed, and who has come into it, in order. */
function follow(graceMs = 50) {
  const joined: string[] = [];
  const changed = (_path: string, who: Set<string>): void => {
    joined.push(...who);
  };
  const registry = new Registry(folder, changed, graceMs);
  open.push(registry);
  registry.set(listens());
  return { registry, joined };
}
const isIn = (registry: Registry, member: string) => registry.admits(path, member);
/** Waits until the member is out of it. */
const isOut = (registry: Registry, member: string) =>
  vi.waitFor(() => expect(isIn(registry, member)).toBe(false), patience);
function founded(...members: string[]): void {
  ensemble.add('/locks/registry');
  ensemble.add(path);
  for (const member of members) ensemble.add(`${path}/${member}`);
}

describe('a registry that is followed', { tags: ['long'] }, () => {
  it('lets members in and out with their nodes', async () => {
    founded('web@app1');
    const { registry, joined } = follow();
    await vi.waitFor(() => expect(joined).toEqual(['web@app1']), patience);
    await isOut(registry, 'web@app2');
    ensemble.add(`${path}/web@app2`);
    await vi.waitFor(() => expect(joined).toEqual(['web@app1', 'web@app2']), patience);
    ensemble.remove(`${path}/web@app1`);
    await isOut(registry, 'web@app1');
    expect(isIn(registry, 'web@app2')).toBe(true);
  });

  it('lets everybody in for as long as there is none; when it is made it puts nobody out before members had time to come', async () => {
    const { registry, joined } = follow(500);
    await vi.waitFor(() => expect(registry.troubles()).toEqual([]), patience);
    expect(isIn(registry, 'web@app1')).toBe(true);
    founded('web@app2');
    await vi.waitFor(() => expect(joined).toEqual(['web@app2']), patience);
    expect(isIn(registry, 'web@app1')).toBe(true);
    await isOut(registry, 'web@app1');
    expect(isIn(registry, 'web@app2')).toBe(true);
  });

  it('stays as it was last known when the ensemble is away, also for an agent that starts then', async () => {
    founded('web@app1', 'web@app2');
    const first = follow();
    await vi.waitFor(() => expect(first.joined).toHaveLength(2), patience);
    await isOut(first.registry, 'web@app3');
    ensemble.freeze(0, 1, 2);
    await vi.waitFor(() => expect(first.registry.troubles()[0]).toContain('last known'), patience);
    ensemble.remove(`${path}/web@app1`);
    const second = follow();
    await vi.waitFor(() => expect(second.registry.troubles()[0]).toContain('no session'), patience);
    for (const { registry } of [first, second]) {
      expect(isIn(registry, 'web@app1')).toBe(true);
      expect(isIn(registry, 'web@app3')).toBe(false);
    }
    ensemble.freeze();
    for (const { registry } of [first, second]) await isOut(registry, 'web@app1');
  });

  it('puts nobody out whose session was lost while the ensemble was away, if it is there again in time', async () => {
    founded('web@app1', 'web@app2');
    const { registry, joined } = follow(1_000);
    await vi.waitFor(() => expect(joined).toHaveLength(2), patience);
    await isOut(registry, 'web@app3');
    ensemble.freeze(0, 1, 2);
    await vi.waitFor(() => expect(registry.troubles()).toHaveLength(1), patience);
    ensemble.remove(`${path}/web@app1`);
    ensemble.freeze();
    await vi.waitFor(() => expect(registry.troubles()).toEqual([]), patience);
    // That it has looked shows in another that comes; and also what goes only now stays in.
    ensemble.add(`${path}/web@app3`);
    await vi.waitFor(() => expect(joined).toContain('web@app3'), patience);
    ensemble.remove(`${path}/web@app2`);
    ensemble.add(`${path}/web@app4`);
    await vi.waitFor(() => expect(joined).toContain('web@app4'), patience);
    for (const n of [1, 2, 3, 4]) expect(isIn(registry, `web@app${n}`)).toBe(true);
    ensemble.add(`${path}/web@app1`);
    await isOut(registry, 'web@app2');
    for (const n of [1, 3, 4]) expect(isIn(registry, `web@app${n}`)).toBe(true);
  });

  it('changes nothing when the ensemble was made anew without it, nor with the first that comes into it', async () => {
    founded('web@app1', 'web@app2');
    const { registry, joined } = follow(500);
    await vi.waitFor(() => expect(joined).toHaveLength(2), patience);
    await isOut(registry, 'web@app3');
    const connections = ensemble.opened.length;
    for (const gone of [`${path}/web@app1`, `${path}/web@app2`, path]) ensemble.nodes.delete(gone);
    ensemble.expire(ensemble.opened.at(-1)!);
    await vi.waitFor(() => expect(ensemble.opened.length).toBeGreaterThan(connections), patience);
    await vi.waitFor(() => expect(registry.troubles()).toEqual([]), patience);
    ensemble.add(path);
    ensemble.add(`${path}/web@app3`);
    await vi.waitFor(() => expect(joined).toContain('web@app3'), patience);
    for (const n of [1, 2]) expect(isIn(registry, `web@app${n}`)).toBe(true);
    ensemble.add(`${path}/web@app1`);
    await isOut(registry, 'web@app2');
    for (const n of [1, 3]) expect(isIn(registry, `web@app${n}`)).toBe(true);
  });
});
