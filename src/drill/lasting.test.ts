import { expect, test } from 'vitest';
import { FaultWindow } from './gaps.ts';
import type { Completion, OperationName } from './history.ts';
import { LastingBuilder } from './lasting.ts';

/** Operations in milliseconds, in the order in which they end; the fault stands from 1,000 and the cluster is whole at 2,000. */
function build(operations: [f: OperationName, from: number, to: number, Completion['type'], k?: string][]) {
  const window = new FaultWindow();
  const lasting = new LastingBuilder(window);
  const events = [
    { at: 1_000, run: () => window.planned('kill', 1_000_000) },
    { at: 2_000, run: () => window.whole('kill', 2_000_000) },
    ...operations.map(([f, from, to, type, k], i) => ({
      at: to,
      run: () =>
        lasting.settle(
          { i, type: 'invoke', t: from * 1_000, p: 0, f, ...(k ? { k } : {}) },
          type,
          to * 1_000,
        ),
    })),
  ].sort((a, b) => a.at - b.at);
  for (const { run } of events) run();
  return lasting.build();
}

test('of downloads that were under way in the fault it is told how many broke; what broke at another time stands apart', () => {
  expect(
    build([
      ['download', 0, 500, 'ok'],
      ['download', 0, 900, 'info'],
      ['download', 500, 1_500, 'ok'],
      ['download', 500, 1_600, 'info'],
      ['download', 1_900, 4_000, 'ok'],
      ['download', 2_100, 4_000, 'fail'],
    ]),
  ).toEqual([{ kind: 'downloads', made: 6, struck: 3, survived: 2, brokenOutside: 2 }]);
});

test('a websocket that was cut is away from the last word heard to the next; one that was not is not', () => {
  const [websockets] = build([
    ['ping', 100, 110, 'ok', 'w0'],
    ['ping', 100, 110, 'ok', 'w1'],
    ['ping', 990, 1_000, 'ok', 'w0'],
    // Waited for, and answered in the end: late, but the same connection.
    ['ping', 950, 1_400, 'ok', 'w1'],
    ['ping', 1_050, 1_200, 'info', 'w0'],
    ['ping', 1_250, 1_251, 'fail', 'w0'],
    ['ping', 1_335, 1_340, 'ok', 'w0'],
  ]);
  expect(websockets).toEqual({
    ...{ kind: 'websockets', made: 2, struck: 2, survived: 1, brokenOutside: 0 },
    ...{ longestAwayMs: 340, notBack: 0 },
  });
});

test('one that never comes back is no short absence', () => {
  const [websockets] = build([
    ['ping', 100, 110, 'ok', 'w0'],
    ['ping', 1_050, 1_200, 'info', 'w0'],
    ['ping', 5_000, 5_001, 'fail', 'w0'],
  ]);
  expect(websockets).toMatchObject({ survived: 0, longestAwayMs: null, notBack: 1 });
});
