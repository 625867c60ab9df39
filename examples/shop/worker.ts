import { setTimeout as wait } from 'node:timers/promises';
import * as carts from './cart.ts';
import * as events from './events.ts';
import * as mail from './mail.ts';
import { json, serve } from './serving.ts';
import { member } from './settings.ts';
import { Tier } from './tier.ts';

const cart = new Tier('cart');
const done = { events: 0, mails: 0 };
let leaving = false;

/** Long: an event or a job that is not handled stays where it is, and comes again. */
const patience = 60_000;

async function note(number: number, what: 'event' | 'mail'): Promise<void> {
  await cart.patiently(performance.now() + patience, () => carts.note(number, what, member));
}

mail.work(async ({ number }) => {
  await note(number, 'mail');
  done.mails++;
});

async function followEvents(): Promise<void> {
  while (!leaving) {
    await events
      .follow('shop', async (value) => {
        const { number } = JSON.parse(value) as { number: number };
        await note(number, 'event');
        done.events++;
      })
      .catch((error: Error) => console.log(`events: ${error.message}`));
    await wait(200);
  }
}
followEvents();

serve(
  async (_request, response) => json(response, 200, { member, ...done }),
  async () => {
    leaving = true;
    await Promise.allSettled([mail.close(), carts.redis.quit()]);
  },
);
