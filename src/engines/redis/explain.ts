import { copyOf } from './copies.ts';
import { damageText } from './damage.ts';
import type { LiveMember, RedisLive } from './live.ts';
import type { RedisService } from './seats.ts';

/** Why a member with damaged data does not start, who has its data, and what to do; for status, plan and up. */
export function explained(service: RedisService, live: RedisLive, member: LiveMember): string {
  const damage = member.damage!;
  const copy = copyOf(service, live, member.name, damage);
  const whose = copy
    ? `; ${copy.why}${copy.newer ? '' : ', which may be older'}`
    : '; no other member that answers has its data';
  return `its data is damaged: ${damageText(damage)}${whose}: phalanx repair ${member.name}`;
}
