import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { kafka } from './client.ts';
import { performKafka } from './perform.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { firstDirectory } from './uuid.ts';

const hosts = ['d1', 'd2', 'd3'];
const service: KafkaService = { name: 'events', type: 'kafka', hosts, uses: [], spec: schema.parse({}) };
const cluster = {
  name: 'shop',
  home: '/nowhere',
  ids: Object.fromEntries(hosts.map((host, i) => [`events/${host}`, i + 1])),
  secrets: { 'events/cluster': 'secret' },
  hosts: Object.fromEntries(
    hosts.map((name, i) => [
      name,
      { name, kind: 'lab', address: `10.0.0.${i + 1}`, root: `/nowhere/hosts/${name}` },
    ]),
  ),
} as unknown as Cluster;

/** Hosts where nothing serves and whose disks are as given; undefined: the host does not answer. Gives what each is told. */
async function form(disks: Record<string, { told: boolean; cluster?: string } | undefined>) {
  const told: Record<string, string> = {};
  const reach = {
    // A port where nothing listens.
    endpoint: async () => ({ host: '127.0.0.1', port: 1 }),
    host: (name: string) => ({
      run: async (script: string) => {
        const disk = disks[name];
        if (!disk) throw new Error('no answer');
        if (script.includes('"told"'))
          return { lines: [{ told: disk.told, lacking: false, cluster: disk.cluster ?? '', node: '1' }] };
        told[name] = script;
        return { exit: 0, stderr: '', lines: [] };
      },
    }),
  } as unknown as Reach;
  const action = { name: 'form', args: {} };
  await performKafka(action, service, cluster, reach, () => {});
  return told;
}

describe('the step that forms a cluster', () => {
  // As long as a busy machine may take to load the library.
  beforeAll(() => kafka(), 60_000);

  it('tells all the first controllers the same, however many were told before', async () => {
    for (const before of [false, true]) {
      const told = await form({ d1: { told: true }, d2: { told: before }, d3: { told: before } });
      for (const host of hosts) {
        expect(told[host]).toContain('--initial-controllers');
        expect(told[host]).toContain(`3@10.0.0.3:9093:${firstDirectory(service, cluster, 3)}`);
        // Over what it was told before.
        expect(told[host]).not.toContain('[ ! -s first ]');
      }
    }
  });

  it('where somebody has begun the others join, unless they were told what to begin with', async () => {
    const told = await form({ d1: { told: false, cluster: 'c' }, d2: { told: false }, d3: { told: true } });
    expect(Object.keys(told)).toEqual(['d2', 'd3']);
    for (const script of Object.values(told)) {
      expect(script).toContain('--no-initial-controllers');
      expect(script).toContain('[ ! -s first ] || exit 0');
    }
  });

  it('forms nothing as long as a disk was not seen, also where others were told', async () => {
    await expect(form({ d1: { told: true }, d2: { told: true }, d3: undefined })).rejects.toThrow(
      /the disks of events@d3 cannot be looked at/,
    );
  });
});
