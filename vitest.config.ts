import { defineConfig } from 'vitest/config';

/** The engines beside the directors: each brings up whole clusters of its own, minutes a file. */
const engines = ['redis-*', 'zookeeper*', 'kafka', 'rabbitmq', 'drill-*'].map(
  (name) => `tests/lab/${name}.test.ts`,
);

const lab = {
  // One after the other: two cores are all that CI has.
  fileParallelism: false,
  globalSetup: ['tests/lab/turn.ts'],
  testTimeout: 120_000,
  hookTimeout: 180_000,
};

// `unit` is the inner loop (pure, seconds). `lab` runs the spine and the directors for real, in network namespaces;
// `engines` does the same for what stands beside them.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts', 'tests/unit/**/*.test.ts'] } },
      { test: { ...lab, name: 'lab', include: ['tests/lab/**/*.test.ts'], exclude: engines } },
      { test: { ...lab, name: 'engines', include: engines } },
    ],
  },
});
