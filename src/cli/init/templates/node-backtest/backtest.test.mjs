// Run with: npm test

import assert from 'node:assert/strict';
import test from 'node:test';

import { main, simulate } from './backtest.mjs';

test('the sample prices give a result', () => {
  const result = main('test', { window: 5 });
  assert.equal(result.days, result.equity.length);
  assert.ok(result.trades > 0);
});

test('a price that always rises is bought once', () => {
  assert.deepEqual(simulate([1, 2, 4, 8], 2), { equity: [1, 1, 2, 4], trades: 1 });
});

test('a window that is too short is refused', () => {
  assert.throws(() => main('test', { window: 1 }), /window must be 2 or more/);
});
