import { randomBytes } from 'node:crypto';
import { observe } from '../cluster/observe.ts';
import { type Answered, judge, questions } from '../cluster/preflight.ts';
import { engines } from '../engines/index.ts';
import { HostUnreachable } from '../hosts/host.ts';
import { unfitMachine } from '../hosts/ssh/facts.ts';
import { parsePreflight, preflightScript } from '../hosts/ssh/preflight.ts';
import { bold, green, red } from './paint.ts';
import { doubts, openSession, type Session } from './session.ts';

/**
 * `phalanx check`: everything that would keep real machines from being the cluster, all of it at once, before anything is
 * changed. Exit status 0 nothing, 1 something.
 */
export async function check(file: string | undefined, options: { json?: boolean }): Promise<number> {
  const session = await openSession(file);
  const { cluster } = session;
  const asked = questions(cluster, engines, randomBytes(6).toString('hex'));
  const [observed, { answers, silent }] = await Promise.all([
    observe(cluster, engines, session.reach),
    askAll(session, asked),
  ]);
  const unfit = Object.entries(observed.machines).flatMap(([name, facts]) =>
    name in cluster.hosts ? unfitMachine(name, cluster.hosts[name]!.address, facts) : [],
  );
  const doubted = doubts(session).map(({ message, next }) => `${message}: ${next}`);
  const problems = [...doubted, ...silent, ...unfit, ...judge(cluster, engines, observed, answers)];
  const count = Object.keys(asked).length;
  if (options.json) console.log(JSON.stringify({ cluster: cluster.name, machines: count, problems }));
  else if (count === 0)
    console.log(`${green('nothing to check')}: cluster ${bold(cluster.name)} has no real machines`);
  else if (problems.length === 0)
    console.log(
      `${green('fit')}: ${count === 1 ? 'the machine' : `all ${count} machines`} of cluster ${bold(cluster.name)}`,
    );
  else for (const problem of problems) console.log(`${red('unfit')} ${problem}`);
  return problems.length === 0 ? 0 : 1;
}

async function askAll(
  { reach }: Session,
  asked: ReturnType<typeof questions>,
): Promise<{ answers: Record<string, Answered>; silent: string[] }> {
  const answers: Record<string, Answered> = {};
  const silent: string[] = [];
  // Connected first: hosts that are to hear each other must be asked at the same time.
  await Promise.allSettled(Object.keys(asked).map((host) => reach.host(host).connect?.()));
  await Promise.all(
    Object.entries(asked).map(async ([host, questionsOfHost]) => {
      const sent = Date.now() / 1000;
      try {
        const { lines } = await reach.host(host).run(preflightScript(questionsOfHost), { timeoutMs: 20_000 });
        answers[host] = { ...parsePreflight(questionsOfHost, lines), sent, received: Date.now() / 1000 };
      } catch (error) {
        if (!(error instanceof HostUnreachable)) throw error;
        silent.push(error.message);
      }
    }),
  );
  return { answers, silent };
}
