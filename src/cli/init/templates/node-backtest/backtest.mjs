// A backtest: holds while the price is above its mean, and is out of the market while it is below.
//
// Longshore calls `main(id, config)` with the `config` of start.json. What `main` returns is the
// result. If it throws, the run has failed, and the error's text is the reason.

import { readFileSync } from 'node:fs';

export function main(id, config) {
  const window = config.window ?? 20;
  if (!(window >= 2)) throw new RangeError(`window must be 2 or more, and it is ${window}`);
  const closes = readCloses(new URL('prices.csv', import.meta.url));
  const { equity, trades } = simulate(closes, window);
  console.log(`${id}: ${closes.length} days, window ${window}: ${trades} trades`);
  return {
    days: closes.length,
    trades,
    total_return: round(equity.at(-1) / equity[0] - 1),
    equity: equity.map(round),
  };
}

function readCloses(file) {
  const [, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => Number(line.split(',')[1]));
}

/** The equity at each close, and how often we bought. We decide at a close, for the next day. */
export function simulate(closes, window) {
  const equity = [1];
  let [trades, isInvested] = [0, false];
  for (let day = 1; day < closes.length; day += 1) {
    equity.push(equity.at(-1) * (isInvested ? closes[day] / closes[day - 1] : 1));
    const known = closes.slice(Math.max(0, day + 1 - window), day + 1);
    const isWanted = known.length === window && closes[day] > mean(known);
    if (isWanted && !isInvested) trades += 1;
    isInvested = isWanted;
  }
  return { equity, trades };
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function round(value) {
  return Number(value.toFixed(4));
}
