import type { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { hangUp } from './switchover-sentinel.ts';

/** A server that closes connections of users that it has. */
function server(has: string[], fails = 'no such') {
  const closed: string[] = [];
  const call = async (...words: string[]): Promise<number> => {
    const user = words.at(-1)!;
    if (!has.includes(user)) throw new Error(fails === 'no such' ? `ERR No such user '${user}'` : fails);
    closed.push(user);
    return 1;
  };
  return { redis: { call } as unknown as Redis, closed };
}

it('a user that is new in the file and not yet in the server keeps no hand-over from its end', async () => {
  const { redis, closed } = server(['default', 'orders']);
  await hangUp(redis, ['default', 'reports', 'orders']);
  expect(closed).toEqual(['default', 'orders']);
});

it('what else goes wrong is told', async () => {
  const { redis } = server([], 'connection is closed');
  await expect(hangUp(redis, ['default'])).rejects.toThrow('connection is closed');
});
