import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { needRoot } from '../src/hosts/lab/root.ts';
import type { Bench } from './bench.ts';
import { bench as checks } from './checks.ts';
import { facts, factsLine, quietLoad } from './facts.ts';
import { bench as shop } from './shop.ts';
import { bench as spine } from './spine.ts';
import { bench as ssh } from './ssh.ts';
import { type Options, Stage } from './stage.ts';
import { doubt, markdown, type Report, trusted } from './table.ts';
import { bench as takeover } from './takeover.ts';
import { bench as throughput } from './throughput.ts';
import { bench as weight } from './weight.ts';

const usage = `npm run bench                        every bench, one after the other
npm run bench -- NAME...             only these
npm run bench -- --list              what there is
npm run bench -- --quick             short runs, to see that they work; the figures mean nothing
npm run bench -- --long takeover     with ten minutes of looking for false takeovers
Results go to bench/results/NAME.json and NAME.md. Exit status 4: a target was missed, 1: a bench failed.`;

const here = import.meta.dirname;
const benches: Bench[] = [spine, shop, ssh, weight, checks, takeover, throughput];

/** Benches that are programs of their own: what they print is theirs, as is their exit status (0: promises kept, 4: broken). */
const programs: Record<string, { what: string; most: number; long?: string[][]; onlyNamed?: true }> = {
  drills: {
    what: 'Time away and lost writes per engine, fault and timing, by phalanx drill: hours, only when named. node bench/drills.ts --help: parts of it.',
    most: 24 * 3_600,
    onlyNamed: true,
  },
  checker: {
    what: 'How fast histories of 100,000 operations are judged; with --long 10,000,000 and their memory.',
    most: 300,
    long: [['set', '10000000']],
  },
};
for (const file of readdirSync(here)) {
  const found = /^((?:zookeeper|kafka|redis|rabbitmq)[a-z-]*)\.ts$/.exec(file)?.[1];
  if (found) programs[found] = { what: `See bench/${file}.`, most: 600 };
}

let stage: Stage | undefined;
let left = false;

async function leave(signal: string): Promise<void> {
  if (left) return;
  left = true;
  console.error(`\n${signal}: clearing up`);
  await stage?.close();
  process.exit(130);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const names = [...benches.map(({ name }) => name), ...Object.keys(programs)];
  if (values.help || values.list) {
    console.log(values.help ? usage : listing());
    return 0;
  }
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`no bench is called ${unknown.join(', ')}: there are ${names.join(', ')}`);
    return 2;
  }
  const refused = needRoot();
  if (refused) {
    console.error(refused);
    return 1;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => leave(signal));

  const wanted = names.filter((name) =>
    positionals.length > 0 ? positionals.includes(name) : !programs[name]?.onlyNamed,
  );
  const before = facts();
  console.error(factsLine(before));
  if (before.load > quietLoad)
    console.error(
      `the load average is above ${quietLoad}: others are at work, and no figure will count as good`,
    );
  mkdirSync(join(here, 'results'), { recursive: true });

  const reports: Report[] = [];
  for (const name of wanted) {
    const report = await one(name, { quick: values.quick, long: values.long }, before);
    reports.push(report);
    const page = markdown(report);
    writeFileSync(join(here, 'results', `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
    writeFileSync(join(here, 'results', `${name}.md`), page);
    console.log(page);
  }
  return conclusion(reports);
}

const listing = (): string =>
  [...benches, ...Object.entries(programs).map(([name, { what }]) => ({ name, what }))]
    .map(({ name, what }) => `${name.padEnd(12)} ${what}`)
    .join('\n');

async function one(name: string, options: Options, before: Report['facts']): Promise<Report> {
  const bench = benches.find((each) => each.name === name);
  // The load that our own earlier benches made is no stranger's: what counts is the start of the whole run.
  const report: Report = {
    name,
    what: bench?.what ?? programs[name]!.what,
    command: `npm run bench -- ${options.quick ? '--quick ' : ''}${options.long ? '--long ' : ''}${name}`,
    facts: { ...before, at: new Date().toISOString() },
    quick: options.quick,
    seconds: 0,
    results: [],
  };
  const began = performance.now();
  stage = new Stage(name, options);
  try {
    if (bench) report.results = await bench.run(stage);
    else report.printed = await program(name, stage);
  } catch (error) {
    report.failed = (error as Error).message;
    if (!left) console.error(`[${name}] failed: ${(error as Error).stack}`);
  } finally {
    await stage.close();
  }
  // Leaving has printed what there is to say; the process ends in `leave`.
  if (left) await new Promise(() => undefined);
  report.seconds = (performance.now() - began) / 1000;
  return report;
}

/** Runs bench/NAME.ts and gives the lines that it printed. Rejects when it fails; a broken promise is in the lines. */
async function program(name: string, on: Stage): Promise<string[]> {
  const path = join(here, `${name}.ts`);
  if (!existsSync(path)) throw new Error(`${path} is not there`);
  const { most, long } = programs[name]!;
  const printed: string[] = [];
  for (const args of [[], ...(on.options.long ? (long ?? []) : [])]) {
    on.going();
    const env = on.options.quick ? { ...process.env, BENCH_QUICK: '1' } : process.env;
    const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env });
    // SIGTERM, so that it can clear up; a bench that hears nothing is killed.
    const stop = () =>
      new Promise<void>((done) => {
        if (child.exitCode !== null || child.signalCode !== null) return done();
        child.once('exit', () => done());
        child.kill('SIGTERM');
        setTimeout(() => child.kill('SIGKILL'), 30_000).unref();
      });
    on.after(stop);
    const timer = setTimeout(stop, most * 1000);
    createInterface({ input: child.stdout }).on('line', (line) => {
      printed.push(line);
      on.say(line);
    });
    const exit = await new Promise<number | null>((done) => child.once('close', done));
    clearTimeout(timer);
    if (exit !== 0 && exit !== 4)
      throw new Error(`bench/${name}.ts ended with ${exit ?? child.signalCode}\n${printed.join('\n')}`);
    printed.push(exit === 0 ? 'promises kept' : 'PROMISES BROKEN');
  }
  return printed;
}

function conclusion(reports: Report[]): number {
  const failed = reports.filter((report) => report.failed);
  const missed = reports.flatMap((report) =>
    report.results.filter(({ met }) => met === false).map(({ metric }) => `${report.name}: ${metric}`),
  );
  const broken = reports.filter((report) => report.printed?.includes('PROMISES BROKEN'));
  for (const report of failed) console.log(`failed: ${report.name}: ${report.failed?.split('\n')[0]}`);
  for (const line of [...missed, ...broken.map(({ name }) => name)]) console.log(`missed: ${line}`);
  const good = reports.flatMap(({ results }) => results).filter(({ met }) => met === true).length;
  const believed = reports.every(trusted);
  console.log(
    `${good} targets ${believed ? 'met' : 'would be met'}, ${missed.length + broken.length} missed, ${failed.length} benches failed${believed ? '' : ` (${doubt(reports.find((report) => !trusted(report))!)})`}`,
  );
  if (failed.length > 0) return 1;
  return missed.length + broken.length > 0 ? 4 : 0;
}

process.exitCode = await main();
