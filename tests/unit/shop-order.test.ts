import { beforeEach, expect, test, vi } from 'vitest';

/** As much of Redis as the shop asks for; `lost`: the next command of one of these names is done, and its answer never comes. */
const redis = vi.hoisted(() => ({
  values: new Map<string, string>(),
  hashes: new Map<string, Record<string, string>>(),
  lost: [] as string[],
}));
const seen = vi.hoisted(() => ({ numbers: 0, announced: [] as number[], posted: [] as number[] }));

vi.mock('ioredis', () => ({
  Cluster: class {
    on() {}
    #hash(key: string): Record<string, string> {
      if (!redis.hashes.has(key)) redis.hashes.set(key, {});
      return redis.hashes.get(key)!;
    }
    #answer<T>(name: string, result: T): T {
      if (!redis.lost.includes(name)) return result;
      redis.lost = [];
      throw new Error('Command timed out');
    }
    async hgetall(key: string) {
      return { ...redis.hashes.get(key) };
    }
    async hset(key: string, field: string, value: number) {
      this.#hash(key)[field] = String(value);
    }
    async get(key: string) {
      return redis.values.get(key) ?? null;
    }
    async set(key: string, value: number, ...options: unknown[]) {
      if (!options.includes('NX') || !redis.values.has(key)) redis.values.set(key, String(value));
      this.#answer('set', 'OK');
    }
    async del(key: string) {
      redis.hashes.delete(key);
    }
    async zadd() {}
    async zremrangebyrank() {}
    /** The script of a click: what it says is done whole. */
    async eval(script: string, keys: number, cart: string, click: string, item: string) {
      expect([script.match(/redis\.call\('(\w+)'/g)?.length, keys]).toEqual([3, 2]);
      const slot = (key: string) => /\{(.+?)\}/.exec(key)?.[1];
      expect(slot(cart)).toBe(slot(click));
      if (!redis.values.has(click)) {
        redis.values.set(click, '1');
        this.#hash(cart)[item] = String(Number(this.#hash(cart)[item] ?? 0) + 1);
      }
      return this.#answer('eval', null);
    }
    multi() {
      const all: (() => void)[] = [];
      const chain = {
        hset: (key: string, fields: Record<string, unknown>) => {
          for (const [field, value] of Object.entries(fields))
            all.push(() => {
              this.#hash(key)[field] = String(value);
            });
          return chain;
        },
        hincrby: (key: string, field: string, by: number) => {
          all.push(() => {
            this.#hash(key)[field] = String(Number(this.#hash(key)[field] ?? 0) + by);
          });
          return chain;
        },
        expire: () => chain,
        exec: async () => {
          for (const one of all) one();
          return this.#answer('exec', []);
        },
      };
      return chain;
    }
  },
}));
vi.mock('../../examples/shop/numbers.ts', () => ({ nextNumber: async () => ++seen.numbers }));
vi.mock('../../examples/shop/events.ts', () => ({
  announce: async (number: number) => void seen.announced.push(number),
}));
vi.mock('../../examples/shop/mail.ts', () => ({
  post: async (number: number) => void seen.posted.push(number),
}));
process.env['CART_HOSTS'] = 'data1:6379';
process.env['CART_PASSWORD'] = 'given';
const carts = await import('../../examples/shop/cart.ts');
const { order } = await import('../../examples/shop/order.ts');
const { Tier } = await import('../../examples/shop/tier.ts');

/** Each part is repeated as the shop does; `away`: a tier that fails for good. */
const asking =
  (away?: string) =>
  async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    if (name === away) throw new Error(`${name} is away`);
    return (await new Tier(name).patiently(performance.now() + 2_000, work)).result;
  };

beforeEach(() => {
  redis.values.clear();
  redis.hashes.clear();
  redis.lost = [];
  Object.assign(seen, { numbers: 0, announced: [], posted: [] });
});

test('a click whose first answer is lost is counted once, and the next click again', async () => {
  const cart = new Tier('cart');
  const click = (id: string) =>
    cart.patiently(performance.now() + 2_000, () => carts.add('anna', 'shield', id));
  redis.lost = ['eval', 'exec'];
  await click('one');
  expect(await carts.cartOf('anna')).toEqual({ shield: 1 });
  await click('two');
  expect(await carts.cartOf('anna')).toEqual({ shield: 2 });
});

test('the same key again is the same order: one number, one event, one mail', async () => {
  await carts.add('anna', 'shield', 'click');
  const first = await order('key', 'anna', asking());
  // Put there since: it is not part of it.
  await carts.add('anna', 'shield', 'later');
  const again = await order('key', 'anna', asking());
  expect([first.number, again.number]).toEqual([1, 1]);
  expect(again.items).toBe('1 shield');
  expect(seen).toEqual({ numbers: 1, announced: [1], posted: [1] });
  expect(await carts.cartOf('anna')).toEqual({ shield: 1 });
});

test('an order that was cut off half-way is taken up under its number when it is sent again', async () => {
  await expect(order('key', 'anna', asking('jobs'))).rejects.toThrow('away');
  const again = await order('key', 'anna', asking());
  expect(again.number).toBe(1);
  expect(seen.numbers).toBe(1);
  expect(new Set(seen.announced)).toEqual(new Set([1]));
  expect(seen.posted).toEqual([1]);
});

test('two members at once with the same key agree on a number, also when the answer of one is lost', async () => {
  redis.lost = ['set'];
  const both = await Promise.all([order('key', 'anna', asking()), order('key', 'anna', asking())]);
  expect(new Set(both.map(({ number }) => number)).size).toBe(1);
  expect(new Set(seen.announced).size).toBe(1);
  expect((await carts.byId('key'))!.number).toBe(both[0]!.number);
});
