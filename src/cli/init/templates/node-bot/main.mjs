// A bot: looks at the next price at an interval, until it is stopped.
//
// Longshore calls `main(id, config)` with the `config` of start.json. A stop is SIGTERM. Without a
// listener for it the bot ends at once; with one it has 30 seconds to clean up.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';

export async function main(id, config) {
  const seconds = config.interval_seconds ?? 1;
  const bot = new Bot(config.window ?? 5);
  // Replay the sample prices. A real bot would ask its exchange.
  const closes = readCloses(new URL('prices.csv', import.meta.url));
  let seen = 0;
  const timer = setInterval(() => {
    const close = closes[seen % closes.length];
    seen += 1;
    console.log(`${id}: price ${close.toFixed(2)}: ${bot.onPrice(close)}`);
  }, seconds * 1000);

  await once(process, 'SIGTERM');
  clearInterval(timer); // nothing is left to do, so the process ends, with exit code 0
  console.log(`${id}: goodbye`); // here a real bot would cancel its orders
}

function readCloses(file) {
  const [, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => Number(line.split(',')[1]));
}

/** Decides: buy above the mean of the last prices, sell below it. */
export class Bot {
  #window;
  #closes = [];
  #isInvested = false;

  constructor(window) {
    if (!(window >= 2)) throw new RangeError(`window must be 2 or more, and it is ${window}`);
    this.#window = window;
  }

  onPrice(close) {
    this.#closes = [...this.#closes, close].slice(-this.#window);
    const mean = this.#closes.reduce((sum, value) => sum + value, 0) / this.#closes.length;
    const isWanted = this.#closes.length === this.#window && close > mean;
    if (isWanted === this.#isInvested) return isWanted ? 'hold' : 'wait';
    this.#isInvested = isWanted;
    return isWanted ? 'buy' : 'sell';
  }
}
