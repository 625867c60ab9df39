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

const cartKey = (client: string): string => `cart:${client}`;
const orderKey = (number: number): string => `order:${number}`;

export async function cartOf(client: string): Promise<Cart> {
  const items = await redis.hgetall(cartKey(client));
  return Object.fromEntries(Object.entries(items).map(([item, count]) => [item, Number(count)]));
}

/** Puts one more into the cart, and forgets carts that nobody comes back for. */
export async function add(client: string, item: string): Promise<void> {
  await redis.multi().hincrby(cartKey(client), item, 1).expire(cartKey(client), 86_400).exec();
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
}

/** Safe to repeat: the same order again changes nothing. */
export async function keep(order: Order): Promise<void> {
  const { number, id, items, member } = order;
  await redis
    .multi()
    .hset(orderKey(number), { number, id, items, member })
    .expire(orderKey(number), 86_400)
    .exec();
  await redis.set(`order-id:${id}`, number, 'EX', 86_400);
  await redis.zadd('orders', number, String(number));
  await redis.zremrangebyrank('orders', 0, -101);
}

export async function note(number: number, what: 'event' | 'mail', by: string): Promise<void> {
  await redis.hset(orderKey(number), what, by);
}

/** The order that a client gave this id, as far as it has got; undefined when there is none. */
export async function byId(id: string): Promise<Order | undefined> {
  const number = await redis.get(`order-id:${id}`);
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
