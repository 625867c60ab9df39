import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Cluster } from '../../../file/cluster.ts';
import type { Reach } from '../../../hosts/host.ts';
import { StepFailed, StepHeld } from '../../engine.ts';
import { type Dial, dialer, using } from '../client.ts';
import type { LiveMember, RedisLive } from '../live.ts';
import { observeRedis } from '../observe.ts';
import { type RedisService, type Seat, seatAt, seatsOf, sentinelSeatsOf } from '../seats.ts';

/** What an action needs: the service, ways to its members, and someone to tell. */
export interface World {
  service: RedisService;
  cluster: Cluster;
  reach: Reach;
  dial: Dial;
  say: (line: string) => void;
  observe(): Promise<RedisLive>;
}

export const worldOf = (
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): World => ({
  service,
  cluster,
  reach,
  dial: dialer(service, cluster, reach),
  say,
  observe: () => observeRedis(service, cluster, reach),
});

/** The seat of a member or sentinel by its name; also of a member that the file no longer has. */
export function seatNamed(world: World, name: string): Seat {
  const { service, cluster } = world;
  const seat = [...seatsOf(service, cluster), ...sentinelSeatsOf(service, cluster)].find(
    (one) => one.name === name,
  );
  if (seat) return seat;
  const [, part = '1', host = ''] = /^[^.@]+(?:\.(\d+))?@(.+)$/.exec(name) ?? [];
  const entry = cluster.hosts[host] ?? cluster.former?.[host];
  const found = entry && seatAt(service, cluster, entry.address, service.spec.port + Number(part) - 1);
  if (!found) throw new StepFailed(`${name} is no member of ${service.name}`);
  return found;
}

/** Runs `work` with a connection to the member; errors name it. */
export async function on<T>(
  world: World,
  name: string,
  work: (redis: Redis) => Promise<T>,
  answerMs?: number,
): Promise<T> {
  try {
    return await using(world.dial, seatNamed(world, name), work, answerMs === undefined ? {} : { answerMs });
  } catch (error) {
    if (error instanceof StepFailed || error instanceof StepHeld) throw error;
    throw new StepFailed(`${name}: ${(error as Error).message}`);
  }
}

/**
 * A gate: asks until `open` says undefined. When it has not in its time nothing further is done: StepHeld with what `open` said last, which
 * names the link, slot or offset that blocks. As long as that changes there is progress, and the time begins anew.
 */
export async function gate(open: () => Promise<string | undefined>, ms: number, everyMs = 50): Promise<void> {
  let blocked: string | undefined = 'not asked yet';
  let until = performance.now() + ms;
  for (;;) {
    const now = await open().catch((error: Error) => error.message);
    if (now === undefined) return;
    if (now !== blocked) until = performance.now() + ms;
    blocked = now;
    if (performance.now() >= until)
      throw new StepHeld(
        `held after ${ms / 1000} s: ${blocked}. Nothing unsafe was done; run up again when that is mended`,
      );
    await sleep(everyMs);
  }
}

/** The member as it is now. */
export async function seen(world: World, name: string): Promise<LiveMember | undefined> {
  return (await world.observe()).members.find((member) => member.name === name);
}
