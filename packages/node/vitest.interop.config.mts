import { defineConfig } from 'vitest/config';

// Wants peers that `verification/interop/prepare` builds.
export default defineConfig({
  test: { include: ['test/interop/*.test.ts'], pool: 'forks', testTimeout: 60_000 },
});
