import { defineConfig } from 'vitest/config';

/** What takes minutes a file, or looks at one engine only: `npm run test:engines`, too long for every landing. */
const engines = [
  'drill-lasting',
  'drill-sweep',
  'drill-tiers',
  'kafka',
  'kafka-ssh',
  'rabbitmq',
  'redis-change',
  'redis-disk',
  'redis-doctor',
  'redis-leave',
  'redis-python',
  'redis-repair',
  'storage',
  'zookeeper',
  'zookeeper-registry',
].map((name) => `tests/lab/${name}.test.ts`);

const lab = {
  // One after the other: two cores are all that CI has.
  fileParallelism: false,
  globalSetup: ['tests/lab/turn.ts'],
  testTimeout: 120_000,
  hookTimeout: 180_000,
};

// `unit` is the inner loop (pure, seconds). `lab` runs for real, in network namespaces: hosts, directors, the whole shop, drills with
// their negative controls; `engines` what is left of the engines; `guest` an emulated machine whose kernel has IPVS.
// One of the last three at a time: each waits for its turn on the machine.
export default defineConfig({
  test: {
    tags: [
      {
        name: 'long',
        description:
          'tries many cases, runs another program or waits: left out of the inner loop (npm run unit)',
      },
    ],
    projects: [
      // Pure, so they share processes: loading everything anew for each file took most of their time.
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'tests/unit/**/*.test.ts'],
          globalSetup: ['tests/unit/temporary.ts'],
          isolate: false,
          maxWorkers: 2,
        },
      },
      { test: { ...lab, name: 'lab', include: ['tests/lab/**/*.test.ts'], exclude: engines } },
      { test: { ...lab, name: 'engines', include: engines } },
      {
        test: {
          ...lab,
          name: 'guest',
          include: ['tests/guest/**/*.test.ts'],
          globalSetup: ['tests/lab/turn.ts', 'tests/guest/setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});
