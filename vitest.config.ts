import { defineConfig } from 'vitest/config';

const lab = {
  // One after the other: two cores are all that CI has.
  fileParallelism: false,
  globalSetup: ['tests/lab/turn.ts'],
  testTimeout: 120_000,
  hookTimeout: 180_000,
};

// `unit` is the inner loop (pure, seconds). `lab` runs everything for real, in network namespaces; `guest` on an emulated
// machine whose kernel has IPVS.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['src/**/*.test.ts', 'tests/unit/**/*.test.ts'] } },
      { test: { ...lab, name: 'lab', include: ['tests/lab/**/*.test.ts'] } },
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
