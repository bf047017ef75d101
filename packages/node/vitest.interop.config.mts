import { defineConfig } from 'vitest/config';

// Needs the peers that `verification/interop/prepare` builds.
export default defineConfig({
  test: { include: ['test/interop/*.test.ts'], pool: 'forks', testTimeout: 60_000 },
});
