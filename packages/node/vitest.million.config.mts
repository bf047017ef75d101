import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/hostilePayloads.test.ts'],
    pool: 'forks',
    env: { HOSTILE_REQUESTS: '1000000' },
  },
});
