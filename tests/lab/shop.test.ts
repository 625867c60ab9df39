import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openSession } from '../../src/cli/session.ts';
import { powerOff } from '../../src/hosts/lab/faults.ts';
import { TestCluster, until } from './cluster.ts';

/** examples/shop.yaml as it is, but for its name and its network. */
const examples = resolve(import.meta.dirname, '../../examples');
const cluster = new TestCluster(
  readFileSync(`${examples}/shop.yaml`, 'utf8')
    .replace('cluster: shop\n', 'cluster: labshop\nnetwork: 10.98.77.0/24\n')
    .replace('10.77.0.100\n    listen', '10.98.77.100\n    listen')
    .replaceAll('release: shop ', `release: ${examples}/shop `)
    .replaceAll('release: shop\n', `release: ${examples}/shop\n`),
);
const front = 'http://10.98.77.100';

beforeAll(() => cluster.must('up'), 400_000);
afterAll(() => cluster.remove(), 120_000);

interface Order {
  number: number;
  event?: string;
  mail?: string;
}

/** Orders until `count` are acknowledged. A request that a dying member took with it is sent again, as any browser's user would. */
async function order(count: number, prefix: string): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let i = 0; acknowledged.length < count; i++) {
    const id = `${prefix}-${i}`;
    const answer = await fetch(`${front}/order`, {
      method: 'POST',
      headers: { 'Idempotency-Key': id, Connection: 'close' },
      signal: AbortSignal.timeout(20_000),
    }).catch(() => undefined);
    if (answer?.status === 201) acknowledged.push(id);
    else if (i > 10 * count) throw new Error(`order ${id}: ${answer?.status} ${await answer?.text()}`);
  }
  return acknowledged;
}

/** Resolves when the order's event was consumed and its mail sent. */
const finished = (id: string): Promise<Order> =>
  until(
    `order ${id} is finished`,
    async () => {
      const answer = await fetch(`${front}/order/${id}`, {
        headers: { Connection: 'close' },
        signal: AbortSignal.timeout(2_000),
      });
      const found = (await answer.json()) as Order;
      return answer.ok && found.event && found.mail ? found : undefined;
    },
    60_000,
  );

test('an order goes through every engine, and no number is given twice', async () => {
  const ids = await order(20, 'first');
  const numbers = (await Promise.all(ids.map(finished))).map(({ number }) => number);
  expect(new Set(numbers).size).toBe(20);
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  // Numbers are kept by the cluster, not by whichever member answered.
  const answered = new Set(
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const answer = await fetch(`${front}/who`, { headers: { Connection: 'close' } });
        return ((await answer.json()) as { member: string }).member;
      }),
    ),
  );
  expect([...answered].sort()).toEqual(['web@app1', 'web@app2', 'web@app3']);
});

test('what is sent again with the same key is the same order, and the same click', async () => {
  const headers = { Cookie: `shop=${randomUUID()}`, Connection: 'close' };
  const post = async (path: string, key: string): Promise<Order> => {
    const answer = await fetch(front + path, {
      method: 'POST',
      headers: { ...headers, 'Idempotency-Key': key },
    });
    expect(answer.ok).toBe(true);
    return (await answer.json()) as Order;
  };
  for (const key of ['one', 'one', 'two']) await post('/cart', key);
  const { cart } = (await (await fetch(`${front}/state`, { headers })).json()) as { cart: object };
  expect(cart).toEqual({ shield: 2 });
  const numbers = await Promise.all(
    ['again', 'again', 'again'].map(async (key) => (await post('/order', key)).number),
  );
  expect(new Set(numbers).size).toBe(1);
});

test('up again: nothing to do', async () => {
  expect(await cluster.must('up')).toContain('nothing to do');
});

test.each(['lb1', 'app1', 'data1', 'data3'])(
  'the loss of %s: orders are taken, every acknowledged one is finished, and up makes it whole',
  async (host) => {
    const { cluster: whole } = await openSession(cluster.file);
    await powerOff(whole, host);
    const ids = await order(20, host);
    await Promise.all(ids.map(finished));
    await cluster.must('up');
    await until(
      'the cluster is whole',
      async () => {
        const ill = (await cluster.status()).rows.filter(({ health }) => health !== 'ok');
        if (ill.length > 0) throw new Error(ill.map(({ name, why }) => `${name}: ${why}`).join('; '));
        return true;
      },
      60_000,
    );
  },
  240_000,
);
