// Run with: npm test

import assert from 'node:assert/strict';
import test from 'node:test';

import { Bot } from './main.mjs';

test('it buys above the mean and sells below it', () => {
  const bot = new Bot(2);
  const actions = [1, 2, 3, 1, 1].map((price) => bot.onPrice(price));
  assert.deepEqual(actions, ['wait', 'buy', 'hold', 'sell', 'wait']);
});

test('a window that is too short is refused', () => {
  assert.throws(() => new Bot(1), /window must be 2 or more/);
});
