import type { Redis } from 'ioredis';
import type { RedisLive } from '../live.ts';
import type { World } from '../perform/world.ts';
import type { sample } from './sample.ts';

/** What a member answers to a command, or throws. */
export type Answer = (member: string, command: string) => unknown;

export interface Stub extends World {
  /** All that was done, in order: `cart@d1 FAILOVER TO ...`, and `cart@d1 .role ROLE` for what its host was told to remember; other scripts as they are. */
  done: string[];
}

/** A world for tests in which members answer as given. `exit` is what scripts on hosts end with. */
export function stub(
  { service, cluster }: ReturnType<typeof sample>,
  observe: () => RedisLive,
  answer: Answer,
  exit = 0,
): Stub {
  const done: string[] = [];
  const dial = async ({ name }: { name: string }): Promise<Redis> => {
    const call = async (...words: string[]): Promise<unknown> => {
      const command = words.join(' ');
      if (!/^(INFO|ROLE|CONFIG GET)/.test(command)) done.push(`${name} ${command}`);
      return answer(name, command);
    };
    const info = (section: string) => call('INFO', section);
    const config = (...words: string[]) => call('CONFIG', ...words);
    return { call, info, config, disconnect: () => {} } as unknown as Redis;
  };
  const run = async (script: string) => {
    const [, role, member] = /echo '(.*)' >'.*\/members\/(.*)\/data\/\.role\.new'/.exec(script) ?? [];
    done.push(member ? `${member} .role ${role}` : script.split('\n').slice(1, -1).join('\n'));
    return { exit, lines: [], text: '', stderr: exit === 0 ? '' : 'no space left' };
  };
  return {
    ...{ service, cluster, dial, done, say: () => {}, observe: async () => observe() },
    reach: { host: (name: string) => ({ name, run }) } as unknown as World['reach'],
  };
}
