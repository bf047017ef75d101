/** Skips the tests that `vitest.replicated.config.mts` leaves to the embedded cluster. */

import { beforeEach } from 'vitest';

const reasons = JSON.parse(process.env['TEST_EMBEDDED_ONLY'] ?? '{}') as Record<string, string>;

beforeEach(({ task, skip }) => {
  const reason = reasons[task.name];
  if (reason !== undefined) skip(reason);
});
