import * as carts from './cart.ts';
import * as events from './events.ts';
import * as mail from './mail.ts';
import * as numbers from './numbers.ts';
import { member } from './settings.ts';

/** Does `work`, which must be safe to repeat, until the service of that name has done it. */
export type At = <T>(tier: 'cart' | 'locks' | 'events' | 'jobs', work: () => Promise<T>) => Promise<T>;

/**
 * Number, record, event, job: in this order, so that whatever is announced can be looked up. `id` is the client's own: the same again is
 * the same order, taken up where it was left, whichever member had it before and however far it came.
 */
export async function order(id: string, client: string, at: At): Promise<carts.Order> {
  const known = await at('cart', () => carts.byId(id));
  // Not once more: the cart may hold what is meant for the next one.
  if (known?.done) return known;
  const made = known ?? (await take(id, client, at));
  const { number } = made;
  await at('events', () => events.announce(number, made));
  await at('jobs', () => mail.post(number, client));
  await at('cart', async () => {
    await carts.empty(client);
    await carts.finish(number);
  });
  return made;
}

async function take(id: string, client: string, at: At): Promise<carts.Order> {
  const number = await at('locks', numbers.nextNumber);
  return at('cart', async () => {
    const cart = await carts.cartOf(client);
    const items = Object.entries(cart).map(([item, count]) => `${count} ${item}${count > 1 ? 's' : ''}`);
    return carts.keep({ number, id, items: items.join(', ') || 'nothing', member });
  });
}
