import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    // Every file has its own process, as a user's program has.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
