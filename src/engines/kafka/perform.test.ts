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

type Disks = Record<string, { told: boolean; cluster?: string; idle?: boolean } | undefined>;

/** Hosts where nothing serves and whose disks are as given; undefined: the host does not answer. Gives what each is told. */
async function form(
  disks: Disks,
  of = cluster,
  told: Record<string, string> = {},
  step = 'form',
  as = service,
) {
  const reach = {
    // A port where nothing listens.
    endpoint: async () => ({ host: '127.0.0.1', port: 1 }),
    host: (name: string) => ({
      run: async (script: string) => {
        const disk = disks[name];
        if (!disk) throw new Error('no answer');
        if (script.includes('"told"'))
          return { lines: [{ told: disk.told, lacking: false, cluster: disk.cluster ?? '', node: '1' }] };
        if (script.includes('wantedup')) return { lines: [], text: disk.idle ? 'idle\n' : '' };
        told[name] = script;
        return { exit: 0, stderr: '', lines: [] };
      },
    }),
  } as unknown as Reach;
  const action = { name: step, args: { name: 'events@d1' } };
  await performKafka(action, as, of, reach, () => {});
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

  describe('where the file has other hosts than before', () => {
    const blank = { d1: { told: false }, d2: { told: false }, d3: { told: false } };
    const d9 = { name: 'd9', kind: 'ssh', address: '10.0.0.9', root: '/var/lib/phalanx/shop' };
    const moved = {
      ...cluster,
      ids: { ...cluster.ids, 'events/d9': 4 },
      former: { d9 },
    } as unknown as Cluster;

    it('forms nothing beside the data that is there: all join that cluster', async () => {
      const told = await form({ ...blank, d9: { told: false, cluster: 'c' } }, moved);
      expect(Object.keys(told).sort()).toEqual(hosts);
      for (const script of Object.values(told)) {
        expect(script).toContain('--no-initial-controllers');
        // Of the file's controllers none knows where that is.
        expect(script).toContain(' 10.0.0.9:9093 >voters.new');
      }
    });

    it('one that comes is told the controllers that the cluster has and the file has not; of the file’s own it knows', async () => {
      const data = { told: false, cluster: 'c' };
      const apart = { ...service, spec: schema.parse({ controllers: ['d9'] }) };
      const hosted = { ...moved, hosts: { ...cluster.hosts, d9 }, former: {} } as unknown as Cluster;
      hosted.ids = { ...hosted.ids, 'events/controller.d9': 5 };
      const told: Record<string, string> = {};
      const disks = { d1: { told: false }, d2: data, d3: data, d9: { told: false } };
      await form(disks, hosted, told, 'seed', apart);
      expect(told['d1']).toContain(' 10.0.0.2:9093,10.0.0.3:9093 >voters.new');
      await form(disks, cluster, told, 'seed');
      expect(told['d1']).toContain('rm -f voters');
    });

    it('says where the data is when nothing runs there, whatever the step, and tells nobody anything', async () => {
      for (const step of ['form', 'seed']) {
        const told = {};
        const left = { told: false, cluster: 'c', idle: true };
        await expect(form({ ...blank, d9: left }, moved, told, step)).rejects.toThrow(
          /the data of events is on d9, where the file no longer has it.*put d9 back/,
        );
        expect(told).toEqual({});
      }
    });

    it('forms nothing while a disk that left the file was not seen, and says how to give it up', async () => {
      const told = {};
      await expect(form({ ...blank, d9: undefined }, moved, told)).rejects.toThrow(
        /the disks of events@d9 cannot be looked at.*phalanx forget d9/,
      );
      expect(told).toEqual({});
    });

    it('says of data that a host left long ago nothing while a disk of its own was not seen; what still runs there is joined', async () => {
      const off = { d1: { told: false }, d2: undefined, d3: undefined };
      await expect(form({ ...off, d9: { told: false, cluster: 'c', idle: true } }, moved)).rejects.toThrow(
        /the disks of events@d2, events@d3 cannot be looked at/,
      );
      const told = await form({ ...off, d9: { told: false, cluster: 'c' } }, moved);
      expect(Object.keys(told)).toEqual(['d1']);
      expect(told['d1']).toContain('--no-initial-controllers');
    });

    it('forms where the disks of all that left are empty, or were forgotten', async () => {
      const { former: _, ...forgotten } = moved;
      for (const told of [
        await form({ ...blank, d9: { told: false } }, moved),
        await form(blank, forgotten as Cluster),
      ])
        for (const script of Object.values(told)) expect(script).toContain('--initial-controllers');
    });
  });
});
