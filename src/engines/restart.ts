import { restartFragment } from '../hosts/supervise.ts';
import type { Member, Step } from './engine.ts';

/** Stops a member that runs and starts it again, for a reason that only its engine knows. `root` is its host's. */
export const restartStep = (member: Member, root: string, why: string): Step => ({
  id: `restart ${member.name}`,
  verb: 'restart',
  target: member.name,
  host: member.host,
  service: member.service,
  why,
  needs: [],
  do: {
    kind: 'script',
    script: restartFragment(member, root),
    timeoutMs: member.stop.timeoutMs + 30_000,
  },
});
