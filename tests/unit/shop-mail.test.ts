import { beforeEach, expect, test, vi } from 'vitest';

interface Sent {
  publisher: number;
  number: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** What publishers were given, in order; each is answered by the test. */
const { sent, closed } = vi.hoisted(() => ({ sent: [] as Sent[], closed: [] as number[] }));

vi.mock('rabbitmq-client', () => {
  let publishers = 0;
  return {
    Connection: class {
      on() {}
      createPublisher() {
        const publisher = ++publishers;
        return {
          send: (_to: object, { number }: { number: number }) =>
            new Promise<void>((resolve, reject) => sent.push({ publisher, number, resolve, reject })),
          close: async () => void closed.push(publisher),
        };
      }
    },
  };
});
process.env['JOBS_URL'] = 'amqp://given';
const { post } = await import('../../examples/shop/mail.ts');

beforeEach(() => {
  sent.length = 0;
  closed.length = 0;
});

test('a job that waits for its confirm is not sent again', async () => {
  const first = post(1, 'a');
  const again = post(1, 'a');
  expect(sent.map(({ number }) => number)).toEqual([1]);
  sent[0]!.resolve();
  await Promise.all([first, again]);
  expect(closed).toEqual([]);
});

test('a channel that refuses is left at once, and the job goes out on a new one', async () => {
  const refused = post(2, 'a');
  sent[0]!.reject(new Error('NACK'));
  await expect(refused).rejects.toThrow('NACK');
  expect(closed).toEqual([sent[0]!.publisher]);
  const again = post(2, 'a');
  expect(sent[1]!.publisher).not.toBe(sent[0]!.publisher);
  sent[1]!.resolve();
  await again;
});
