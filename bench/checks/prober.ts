import { Checker, type Target } from '../../src/check/checker.ts';
import { startProbe } from '../../src/check/probe.ts';
import { orders } from '../../tests/lab/wire/orders.ts';

/** The checker alone: what it costs to probe many targets. */
let probes = 0;
let downs = 0;
const checker = new Checker(
  (_target, health) => {
    if (!health.up) downs++;
  },
  (check, address, port, done) => {
    probes++;
    return startProbe(check, address, port, done);
  },
);

orders({
  /** Begins to probe; resolves when every target has a result. */
  begin: async (targets: Target[]) => {
    checker.set(targets);
    while (!checker.settled) await new Promise((resolve) => setTimeout(resolve, 20));
  },
  /** Cores used and probes made a second, over that time; and how many targets have been found down so far. */
  measure: async (ms: number) => {
    const [cpu, at, made] = [process.cpuUsage(), performance.now(), probes];
    await new Promise((resolve) => setTimeout(resolve, ms));
    const used = process.cpuUsage(cpu);
    const seconds = (performance.now() - at) / 1000;
    return {
      cores: (used.user + used.system) / 1e6 / seconds,
      perSecond: (probes - made) / seconds,
      downs,
    };
  },
});
