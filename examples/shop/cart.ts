import { Cluster } from 'ioredis';
import { given, places } from './settings.ts';

/** Redis Cluster, as ioredis wants it: any of the members tells of all others, and MOVED and ASK are followed. */
export const redis = new Cluster(places(given('CART_HOSTS')), {
  redisOptions: {
    password: given('CART_PASSWORD'),
    connectTimeout: 1_000,
    // A server that hangs never closes a connection: by itself ioredis waits two seconds for that before it connects to another.
    disconnectTimeout: 100,
    // A frozen master answers nothing: give up, so that what asked can be repeated at its successor.
    commandTimeout: 900,
    maxRetriesPerRequest: 1,
  },
  clusterRetryStrategy: () => 100,
  slotsRefreshTimeout: 1_000,
  slotsRefreshInterval: 1_000,
});
redis.on('error', () => undefined);

/** How many of each item are in a client's cart. */
export type Cart = Record<string, number>;

/** In braces: what is done to a cart in one go must be in its slot. */
const cartKey = (client: string): string => `cart:{${client}}`;
const idKey = (id: string): string => `order-id:${id}`;
const orderKey = (number: number): string => `order:${number}`;

export async function cartOf(client: string): Promise<Cart> {
  const items = await redis.hgetall(cartKey(client));
  return Object.fromEntries(Object.entries(items).map(([item, count]) => [item, Number(count)]));
}

/** How long a click is known, seconds: longer than anybody goes on trying. */
const clickFor = 60;
const oneMore = `
if redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[2]) then
  redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
  redis.call('EXPIRE', KEYS[1], 86400)
end`;

/** Puts one more into the cart, once for each `click`, and forgets carts that nobody comes back for. Safe to repeat. */
export async function add(client: string, item: string, click: string): Promise<void> {
  await redis.eval(oneMore, 2, cartKey(client), `click:{${client}}:${click}`, item, clickFor);
}

export const empty = (client: string): Promise<number> => redis.del(cartKey(client));

/** An order as the page shows it: who took it, and who has seen its event and sent its mail. */
export interface Order {
  number: number;
  id: string;
  items: string;
  member: string;
  event?: string;
  mail?: string;
  /** It was announced, its mail is on its way, its cart is empty. */
  done?: string;
}

/**
 * Writes the order down, and gives it back as it stands: under another number, if its id has one already. Safe to repeat: the same order
 * again changes nothing.
 */
export async function keep(order: Order): Promise<Order> {
  const { id, items, member } = order;
  await redis.set(idKey(id), order.number, 'EX', 86_400, 'NX');
  const number = Number(await redis.get(idKey(id)));
  if (number !== order.number) {
    const other = await byId(id);
    if (other) return other;
  }
  await redis
    .multi()
    .hset(orderKey(number), { number, id, items, member })
    .expire(orderKey(number), 86_400)
    .exec();
  await redis.zadd('orders', number, String(number));
  await redis.zremrangebyrank('orders', 0, -101);
  return { ...order, number };
}

export async function finish(number: number): Promise<void> {
  await redis.hset(orderKey(number), 'done', 1);
}

export async function note(number: number, what: 'event' | 'mail', by: string): Promise<void> {
  await redis.hset(orderKey(number), what, by);
}

/** The order that a client gave this id, as far as it has got; undefined when there is none. */
export async function byId(id: string): Promise<Order | undefined> {
  const number = await redis.get(idKey(id));
  const order = number === null ? {} : await redis.hgetall(orderKey(Number(number)));
  return order['id'] === undefined ? undefined : ({ ...order, number: Number(number) } as Order);
}

/** The newest first. */
export async function newest(count: number): Promise<Order[]> {
  const numbers = await redis.zrevrange('orders', 0, count - 1);
  const orders = await Promise.all(numbers.map((number) => redis.hgetall(orderKey(Number(number)))));
  return orders
    .filter((order) => order['id'] !== undefined)
    .map((order) => ({ ...order, number: Number(order['number']) }) as Order);
}
