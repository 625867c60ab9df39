import { afterEach, describe, expect, it, vi } from 'vitest';
import { PartitionWriter, type Sender } from './drill-writer.ts';

/** A producer whose answers are given by hand. */
function producer() {
  const requests: { values: string[]; settle(error?: Error): void }[] = [];
  const sender = {
    send: ({ messages }: { messages: { value: string }[] }) =>
      new Promise((done, reject) => {
        const settle = (error?: Error): void => (error ? reject(error) : done({}));
        requests.push({ values: messages.map(({ value }) => value), settle });
      }),
  } as unknown as Sender;
  return { sender, requests };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('the writer of a partition', () => {
  it('has one request on its way: what comes meanwhile goes with the next, in the order it came', async () => {
    const { sender, requests } = producer();
    const writer = new PartitionWriter(sender, 't', 0, -1);
    const outcomes = [1, 2, 3].map((value) => writer.append(value));
    await vi.waitFor(() => expect(requests).toHaveLength(1));
    expect(requests[0]!.values).toEqual(['1']);
    requests[0]!.settle();
    await vi.waitFor(() => expect(requests).toHaveLength(2));
    expect(requests[1]!.values).toEqual(['2', '3']);
    requests[1]!.settle();
    expect(await Promise.all(outcomes)).toEqual([{ type: 'ok' }, { type: 'ok' }, { type: 'ok' }]);
    writer.close();
  });

  it('does not know what became of a request that failed', async () => {
    const { sender, requests } = producer();
    const writer = new PartitionWriter(sender, 't', 0, -1);
    const outcome = writer.append(1);
    await vi.waitFor(() => expect(requests).toHaveLength(1));
    requests[0]!.settle(new Error('gone'));
    expect(await outcome).toEqual({ type: 'info', error: 'gone' });
    writer.close();
  });

  it('gives up in the end: what was on its way may have happened, what was never sent has not', async () => {
    vi.useFakeTimers();
    const { sender, requests } = producer();
    const writer = new PartitionWriter(sender, 't', 0, -1);
    const outcomes = [writer.append(1), writer.append(2)];
    await vi.advanceTimersByTimeAsync(31_000);
    expect((await Promise.all(outcomes)).map(({ type }) => type)).toEqual(['info', 'fail']);
    expect(requests).toHaveLength(1);
    writer.close();
  });
});
