import { cpus } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { type Bench, judge, percentile, type Result } from './bench.ts';
import type { Stage } from './stage.ts';
import { takeoverCluster, vips } from './takeover/cluster.ts';
import { everyMs, Pair } from './takeover/pair.ts';

interface Moves {
  dark: number[];
  back: number[];
}

export const bench: Bench = {
  name: 'takeover',
  what: `How long a client that asks every ${everyMs} ms (over HTTP, a new connection each time) is without an answer when the VIP moves; beside it keepalived with its defaults. With --long: false takeovers in ten minutes with every core busy.`,
  async run(stage: Stage): Promise<Result[]> {
    const cluster = takeoverCluster(stage);
    await cluster.up();
    const ours = new Pair(stage, cluster, {
      name: 'phalanx',
      hosts: ['lb1', 'lb2'],
      vip: vips.phalanx,
      vrrp: 'front.vrrp',
    });
    const plain = new Pair(stage, cluster, {
      name: 'keepalived',
      hosts: ['ka1', 'ka2'],
      vip: vips.keepalived,
      vrrp: 'first',
    });
    const rounds = stage.options.quick ? 2 : 20;
    const results = [
      ...figures('cable cut', 300, await moves(stage, 'cut', ours, plain, rounds)),
      ...figures('owner stopped in order', 50, await moves(stage, 'stop', ours, plain, rounds)),
    ];
    if (stage.options.long) results.push(await falseTakeovers(stage, ours));
    return results;
  },
};

/** Ours every round, keepalived's in every second: its moves take much longer. */
async function moves(
  stage: Stage,
  how: 'cut' | 'stop',
  ours: Pair,
  plain: Pair,
  rounds: number,
): Promise<Record<'ours' | 'plain', Moves>> {
  const seen = { ours: { dark: [], back: [] }, plain: { dark: [], back: [] } } as Record<
    'ours' | 'plain',
    Moves
  >;
  const once = async (pair: Pair, into: Moves): Promise<string> => {
    const { dark, back } = await pair[how]();
    into.dark.push(dark);
    into.back.push(back);
    return `${pair.name} ${dark.toFixed(0)} ms, on return ${back.toFixed(0)} ms`;
  };
  for (let round = 1; round <= rounds; round++) {
    const said = [await once(ours, seen.ours)];
    if (round % 2 === 0) said.push(await once(plain, seen.plain));
    stage.say(`${how} ${round}/${rounds}: ${said.join('; ')}`);
  }
  return seen;
}

function figures(what: string, mostMs: number, { ours, plain }: Record<'ours' | 'plain', Moves>): Result[] {
  // The 95th percentile of one run is one figure: it has no rounds to be the median of.
  const at = (p: number, values: number[]): number[] => [percentile(values, p)];
  const row = (metric: string, p: number, part: keyof Moves, held: boolean): Result => ({
    ...judge(
      { metric: `${what}: ${metric}`, unit: 'ms' },
      at(p, ours[part]),
      { keepalived: at(p, plain[part]) },
      held ? [{ atMost: mostMs }] : [],
    ),
    runs: { ours: ours[part], keepalived: plain[part] },
  });
  return [
    row('without an answer, p50', 50, 'dark', true),
    row('without an answer, p95', 95, 'dark', true),
    row('when the owner returns and takes it back, p50', 50, 'back', false),
    row('when the owner returns and takes it back, p95', 95, 'back', false),
  ];
}

/** Every core runs a loop that never rests, at the same priority as everything else: nothing may move. */
async function falseTakeovers(stage: Stage, ours: Pair): Promise<Result> {
  const seconds = stage.options.quick ? 10 : 600;
  const news = ours.watch();
  for (let core = 0; core < cpus().length; core++) stage.start('sh', ['-c', 'while :; do :; done'], 'ignore');
  for (let second = 0; second < seconds; second += 10) {
    stage.going();
    await wait(10_000);
    stage.say(
      `every core busy for ${second + 10} of ${seconds} s: the VIP moved ${news.moves().length} times`,
    );
  }
  const moves = [...news.moves()];
  for (const move of moves) stage.say(move);
  // A watch that sees nothing proves nothing: it must see a takeover that is real.
  await ours.stop();
  if (news.moves().length === moves.length) throw new Error('a real takeover was not seen either');
  return judge(
    {
      metric: `false takeovers in ${seconds} s with every core busy`,
      unit: '',
      note: 'additions and removals of the VIP at either director',
    },
    [moves.length],
    {},
    [{ atMost: 0 }],
  );
}
