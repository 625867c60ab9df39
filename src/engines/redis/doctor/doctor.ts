import type { Cluster } from '../../../file/cluster.ts';
import type { Reach } from '../../../hosts/host.ts';
import type { Checkup, DoctorOptions, Finding } from '../../engine.ts';
import type { RedisService } from '../seats.ts';
import { copyRules } from './copies.ts';
import { evictionRules } from './eviction.ts';
import type { Facts } from './facts.ts';
import { gather } from './gather.ts';
import { hostRules } from './host.ts';
import { limitRules, nearness } from './limits.ts';
import { count } from './numbers.ts';
import { speedRules } from './speed.ts';
import { versionRules } from './versions.ts';

const rules = [...copyRules, ...evictionRules, ...versionRules, ...limitRules, ...hostRules, ...speedRules];
const order = { data: 0, service: 1, speed: 2 };

/** What hurts the service or will, what endangers data first. Pure. */
export function findings(facts: Facts): Finding[] {
  return rules
    .flatMap((rule) => rule(facts))
    .map((found) => ({ ...found, service: facts.service.name }))
    .sort((a, b) => order[a.risk] - order[b.risk]);
}

/** How far was looked. */
export function looked(facts: Facts): string[] {
  const samples = facts.keys.map(
    (one) => `${one.member}: ${count(one.seen)} of ${count(one.keys)} keys, as a ${one.role}`,
  );
  const hosts = [...new Set(facts.live.members.map((one) => one.host))].filter((host) => !facts.hosts[host]);
  return [
    ...samples,
    ...Object.entries(facts.unseen).map(([name, why]) => `${name}: no keys (${why})`),
    ...hosts.map((host) => `${host}: not its kernel's settings, it does not answer`),
  ];
}

/** `phalanx doctor` for a Redis service. Throws StepFailed when no member answers. */
export async function redisDoctor(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  options: DoctorOptions,
): Promise<Checkup> {
  const facts = await gather(service, cluster, reach, options);
  return { findings: findings(facts), limits: nearness(facts), looked: looked(facts) };
}
