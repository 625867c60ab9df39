import { expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import type { RabbitService } from './names.ts';
import { Left, until } from './perform.ts';

const context = {
  service: { name: 'jobs', hosts: [] as string[] } as RabbitService,
  cluster: { hosts: {} } as unknown as Cluster,
  reach: {} as Reach,
  say: () => {},
};
const late = (why: string): Error => new Error(`too late: ${why}`);

it('what gets further with every look has its time anew, however much there is; what does not has not', async () => {
  let left = 4;
  const falling = () => (--left === 0 ? true : new Left(left, `${left} queues are left`));
  // A look is longer than the time that it has.
  expect(await until<true>(context, 50, falling as () => true | Left, late)).toBe(true);
  await expect(until(context, 50, () => new Left(2, '2 queues are left'), late)).rejects.toThrow(
    'too late: 2 queues are left',
  );
  await expect(until(context, 50, () => 'no node answers', late)).rejects.toThrow(
    'too late: no node answers',
  );
});
