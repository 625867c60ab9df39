import type { Service } from '../../file/cluster.ts';
import type { Engine } from '../engine.ts';
import { directorDoctor } from './doctor.ts';
import { directorDrills } from './drill.ts';
import { backends, type EngineOf } from './listens.ts';
import { directorMembers } from './members.ts';
import { type DirectorsLive, observeDirectors } from './observe.ts';
import { performDirector, planDirectors } from './plan.ts';
import { directorRules } from './rules.ts';
import { type DirectorSpec, schema } from './schema.ts';
import { directorSettings } from './settings.ts';
import { directorStatus } from './status.ts';
import { dismissStep, drainStep, undrainStep } from './turn.ts';
import { directorWays } from './ways.ts';

/** `type: director`: LVS in front: a VIP that moves, and virtual services that share their connections out. */
export const director = (engineOf: EngineOf): Engine<DirectorSpec, DirectorsLive> => ({
  type: 'director',
  schema,
  check: directorRules(engineOf),
  packages: (service, cluster) => [
    // What the agent runs on; a lab host has the Node that runs Phalanx.
    ...(service.hosts.some((host) => cluster.hosts[host]!.kind === 'ssh') ? ['nodejs'] : []),
    'keepalived',
    'nftables',
    // /etc/protocols: without it `ip rule` does not know tcp, and a minimal Debian has none.
    'netbase',
    ...(service.spec.listen.some(({ plane }) => plane === 'ipvs' || plane === 'auto') ? ['ipvsadm'] : []),
    ...(service.spec.listen.some((listen) => listen.plane === 'haproxy') ? ['haproxy'] : []),
    ...(service.spec.listen.some((listen) => listen.forward === 'fullnat')
      ? ['conntrackd', 'conntrack']
      : []),
  ],
  kernel: ({ spec }) => [
    ...(spec.listen.some(({ plane }) => plane !== 'haproxy') ? ['nf_tables'] : []),
    ...(spec.listen.some(({ forward }) => forward === 'fullnat') ? ['nf_conntrack'] : []),
  ],
  speaks: directorWays,
  secrets: () => ['sync'],
  members: (service, cluster) => directorMembers(service, cluster, engineOf),
  settings: (service, cluster) => directorSettings(service, cluster, engineOf),
  observe: observeDirectors,
  plan: planDirectors,
  perform: performDirector,
  follows: (service) => service.spec.listen.map((listen) => listen.to),
  address: (service) => {
    const [first] = service.spec.listen;
    const [vip] = service.spec.vip;
    const host = vip!.includes(':') ? `[${vip}]` : vip;
    return { URL: `http://${host}${first!.port[0] === 80 ? '' : `:${first!.port[0]}`}/`, VIP: vip! };
  },
  status: (service, cluster, live) => directorStatus(service, cluster, live),
  drills: directorDrills,
  doctor: async (service, cluster) => directorDoctor(service, cluster),
  around: (service, cluster, member) => {
    const fronted = service.spec.listen.some(
      (listen) =>
        listen.to === member.service &&
        backends(cluster.services[listen.to]!, cluster, engineOf, listen.at).some(
          (one) => one.name === member.name,
        ),
    );
    if (!fronted) return { before: [], after: [] };
    const drainMs = drainOf(cluster.services[member.service]!);
    return {
      before: service.hosts.map((host) => drainStep(service, cluster, host, member.name, drainMs)),
      after: service.hosts.map((host) =>
        undrainStep(service, cluster, host, member.name, 'its check passes again'),
      ),
    };
  },
  dismiss: (service, cluster, member, of) =>
    service.spec.listen.some(({ to }) => to === of.name)
      ? service.hosts.map((host) => dismissStep(service, cluster, host, member, drainOf(of)))
      : [],
});

const drainOf = ({ spec }: Service): number => (spec as { drain?: number }).drain ?? 5_000;
