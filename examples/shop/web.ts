import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as carts from './cart.ts';
import * as events from './events.ts';
import * as mail from './mail.ts';
import * as numbers from './numbers.ts';
import { order } from './order.ts';
import { page } from './page.ts';
import { json, reply, serve } from './serving.ts';
import { member } from './settings.ts';
import { Away, Tier } from './tier.ts';

const tiers = {
  cart: new Tier('cart'),
  locks: new Tier('locks'),
  events: new Tier('events'),
  jobs: new Tier('jobs'),
};

/** How long a client's request may wait for a failover behind it, milliseconds. */
const patience = 15_000;

serve(
  async (request, response) => {
    const client = clientOf(request, response);
    const path = request.url?.split('?')[0];
    try {
      if (request.method === 'GET' && path === '/')
        reply(response, 200, 'text/html; charset=utf-8', page(member));
      else if (request.method === 'GET' && path === '/who') json(response, 200, { member });
      else if (request.method === 'GET' && path === '/state') json(response, 200, await state(client));
      else if (request.method === 'GET' && path?.startsWith('/order/')) await look(path.slice(7), response);
      else if (request.method === 'POST' && path === '/cart') await put(client, request, response);
      else if (request.method === 'POST' && path === '/order') await buy(client, request, response);
      else reply(response, 404, 'text/plain', 'not found\n');
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      json(response, 503, { error: error.message, tier: error.tier, member });
    }
  },
  () =>
    Promise.allSettled([events.close(), mail.close(), carts.redis.quit(), Promise.resolve(numbers.close())]),
);

/** A client is known by its cookie, whichever member answers: nothing of it is kept here. */
function clientOf(request: IncomingMessage, response: ServerResponse): string {
  const known = /(?:^|; )shop=([0-9a-f-]{36})/.exec(request.headers.cookie ?? '')?.[1];
  if (known) return known;
  const client = randomUUID();
  response.setHeader('Set-Cookie', `shop=${client}; Path=/; HttpOnly; SameSite=Lax`);
  return client;
}

async function state(client: string): Promise<object> {
  const deadline = performance.now() + 900;
  const seen = await tiers.cart
    .patiently(deadline, async () => ({ cart: await carts.cartOf(client), orders: await carts.newest(12) }))
    .catch(() => undefined);
  return {
    member,
    cart: seen?.result.cart,
    orders: seen?.result.orders,
    tiers: Object.values(tiers).map(({ name, trouble }) => ({ name, trouble })),
  };
}

async function look(id: string, response: ServerResponse): Promise<void> {
  const { result } = await tiers.cart.patiently(performance.now() + patience, () => carts.byId(id));
  if (result) json(response, 200, result);
  else json(response, 404, { error: `no order has the id ${id}` });
}

/** A click is known by its id, which is given before the first attempt: an attempt whose answer was lost counts no second time. */
async function put(client: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const click = idOf(request);
  await tiers.cart.patiently(performance.now() + patience, () => carts.add(client, 'shield', click));
  json(response, 200, { member });
}

/** What the client calls this request, so that it may send it again; else a name of our own. */
const idOf = (request: IncomingMessage): string =>
  /^[\w-]{1,64}$/.exec(String(request.headers['idempotency-key'] ?? ''))?.[0] ?? randomUUID();

/**
 * Each part is repeated while its service fails over. What each took is told in Server-Timing (W3C), so that a client can see which one
 * was slow.
 */
async function buy(client: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const deadline = performance.now() + patience;
  const times: string[] = [];
  const made = await order(idOf(request), client, async (name, work) => {
    const began = performance.now();
    try {
      return (await tiers[name].patiently(deadline, work)).result;
    } finally {
      times.push(`${name};dur=${(performance.now() - began).toFixed(1)}`);
      response.setHeader('Server-Timing', times.join(', '));
    }
  });
  json(response, 201, made);
}
