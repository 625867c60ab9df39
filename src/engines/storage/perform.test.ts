import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { performStorage } from './perform.ts';
import { schema } from './schema.ts';
import { brickName, type StorageService, uuidOf } from './seats.ts';

const service: StorageService = {
  name: 'files',
  type: 'storage',
  hosts: ['d4'],
  uses: [],
  spec: schema.parse({}),
};
const entry = (name: string, i: number, kind: 'lab' | 'ssh' = 'lab') => ({
  name,
  kind,
  address: `10.1.0.${i}`,
  root: `/nowhere/hosts/${name}`,
});
const cluster = {
  name: 'c',
  hosts: { d1: entry('d1', 1), d4: entry('d4', 4) },
  former: { d9: entry('d9', 9, 'ssh') },
  ids: { 'files/d4': 2, 'files/d9': 1 },
  services: {},
  secrets: {},
} as unknown as Cluster;

const form = (copies: Record<string, boolean | undefined>): Promise<string[]> => perform('form', copies);

const left = uuidOf(service, cluster, 'd1');
const poolList = `UUID\t\t\t\t\tHostname \tState
${left}\t10.1.0.1 \tDisconnected
${uuidOf(service, cluster, 'd4')}\tlocalhost\tConnected
`;

/** A glusterd on d4 without a volume, until it makes one; in its pool those of `pool`. Gives what gluster was called for. */
async function perform(
  name: string,
  copies: Record<string, boolean | undefined>,
  { calls = [], pool = '' }: { calls?: string[]; pool?: string } = {},
): Promise<string[]> {
  const state = (): string => {
    const volume = `Volume1.name: files
Volume1.status: Started
Volume1.Brick1.path: ${brickName(service, cluster.hosts['d4']!)}
`;
    const made = calls.some((call) => call.includes('volume create'));
    // As `volume set` was told last.
    const words = calls.findLast((call) => call.includes('volume set'))?.matchAll(/([\w-]+\.[\w-]+) (\S+)/g);
    const options = [...(words ?? [])].map(([, key, value]) => `Volume1.options.${key}: ${value}\n`).join('');
    return `disk 0 0 1000\n[Global]\nMYUUID: x\n[Peers]\n${pool}[Volumes]\n${made ? volume + options : ''}`;
  };
  const reach = {
    host: (at: string) => ({
      run: async (script: string) => {
        if (at === 'd4') {
          if (script.includes('get-state')) return { exit: 0, text: state(), stderr: '', lines: [] };
          calls.push(script);
          const text = script.includes('pool list') ? poolList : '';
          return { exit: 0, text, stderr: '', lines: [] };
        }
        const copy = copies[at];
        if (copy === undefined) throw new HostUnreachable(at, 'is down');
        return { exit: 0, text: copy ? 'held\n' : '', stderr: '', lines: [] };
      },
    }),
  } as unknown as Reach;
  try {
    await performStorage({ name, args: {} }, service, cluster, reach, () => {});
  } catch (error) {
    // Whatever was refused, nothing was begun.
    expect(calls).toEqual([]);
    throw error;
  }
  return calls;
}

describe('the step that makes a volume', () => {
  it('makes none beside a copy on a host that the service has left, and says what to do', async () => {
    await expect(form({ d1: true, d9: false })).rejects.toThrow(
      /d1 holds the data of files: leave it in the file, run up, and exchange it afterwards.*data\/brick away/,
    );
    await expect(form({ d1: true, d9: true })).rejects.toThrow(
      /d9, d1 hold the data of files: leave one of them in the file/,
    );
  });

  it('makes none while a host that was one of its cannot be asked, and waits for no other', async () => {
    expect((await form({ d1: undefined, d9: false }))[0]).toContain('volume create files');
    await expect(form({ d1: false, d9: undefined })).rejects.toThrow(
      /d9 cannot be asked whether the data of files is there.*phalanx forget d9/,
    );
  });

  it('makes one where nobody has any', async () => {
    expect((await form({ d1: false, d9: false }))[0]).toContain('volume create files');
  });
});

it('a host that left and that the pool still has leaves it, though all copies are where they belong', async () => {
  const calls = ['volume create files'];
  const pool = `Peer1.uuid: ${left}\nPeer1.state: Peer in Cluster\nPeer1.connected: Disconnected\n`;
  await perform('reshape', {}, { calls, pool });
  // One copy needs no majority of glusterds: that is said first, or it would be stopped while they leave one by one.
  expect(calls[1]).toMatch(/volume set files .*cluster.server-quorum-type none/);
  expect(calls.at(-1)).toContain('peer detach 10.1.0.1 force');
  await perform('reshape', {}, { calls });
  expect(calls.filter((call) => call.includes('volume set'))).toHaveLength(1);
  expect(calls.filter((call) => call.includes('peer'))).toHaveLength(1);
});

describe('the step that waits for a mount to follow', { tags: ['long'] }, () => {
  afterEach(() => void vi.useRealTimers());

  const web = { name: 'web', type: 'app', hosts: ['d1'], uses: ['files'], spec: {} };
  const used = { ...cluster, services: { files: service, web } } as unknown as Cluster;
  /** Where nothing is answered for `silentMs`, unless it is mounted anew. Gives after how much of that it was, milliseconds. */
  async function follow(silentMs: number, pingTimeout: string): Promise<number[]> {
    vi.useFakeTimers({ toFake: ['performance'] });
    const anew: number[] = [];
    const began = performance.now();
    const answer = async (at: string, script: string): Promise<string> => {
      if (at === 'd4')
        return `disk 1 0 1000
[Global]
[Volumes]
Volume1.name: files
Volume1.status: Started
Volume1.Brick1.path: ${brickName(service, cluster.hosts['d4']!)}
Volume1.Brick1.status: Started
Volume1.options.network.ping-timeout: ${pingTimeout}
`;
      const past = performance.now() - began;
      if (!script.includes('.meta')) anew.push(past);
      else if (anew.length === 0 && past < silentMs) {
        vi.advanceTimersByTime(4_000);
        return 'broken \n';
      }
      return 'brick 1 10.1.0.4\n';
    };
    const reach = {
      host: (at: string) => ({
        run: async (script: string) => ({ exit: 0, text: await answer(at, script), stderr: '', lines: [] }),
      }),
    } as unknown as Reach;
    await performStorage({ name: 'follow', args: { host: 'd1' } }, service, used, reach, () => {});
    return anew;
  }

  it('leaves one alone that only waits for a silent data host, and makes one anew that answers nothing after that', async () => {
    expect(await follow(42_000, '42')).toEqual([]);
    const [after] = await follow(Number.POSITIVE_INFINITY, '42');
    expect(after).toBeGreaterThan(47_000);
  });

  it('waits no longer where a silent one is given up sooner', async () => {
    const [after] = await follow(Number.POSITIVE_INFINITY, '3');
    expect(after).toBeLessThan(25_000);
  });
});
