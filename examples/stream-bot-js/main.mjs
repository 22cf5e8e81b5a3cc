// A bot in Node.js that reads a stream of trades, and ends cleanly when it is stopped.
//
// One AbortSignal ends everything: the stream, its timers, and whatever else takes a signal. What came
// before is handled to its end, the state is kept, and the exit code is 0.
//
// Without config.url the trades are made up. With it, they are the messages of a WebSocket: "network": "bridge", and a
// Node.js that has WebSocket (22 and later), or the package ws beside this file.

import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { metric, state, stopping } from 'longshore';

export async function main(id, config) {
  const { signal } = stopping; // from here on, a stop no longer ends the program by itself
  state.trades ??= 0;
  state.volume ??= 0;
  console.log(`${id}: ${state.trades} trades so far`);
  const trades = config.url ? received(config, signal) : madeUp(config, signal);
  try {
    await pipeline(trades, bars(config.trades_per_bar ?? 5), take(id));
  } finally {
    state.save();
    console.log(`${id}: ended after ${state.trades} trades`);
  }
}

/** Trades of nobody. When it is aborted, the stream ends; it does not fail. */
function madeUp({ interval_ms: interval = 200 }, signal) {
  return Readable.from(
    (async function* () {
      let price = 100;
      while (!signal.aborted) {
        price *= 1 + (Math.random() - 0.5) / 100;
        yield { price, amount: Math.ceil(Math.random() * 10) };
        await sleep(interval, undefined, { signal }).catch(() => {});
      }
    })(),
  );
}

/** The messages of a WebSocket: {"price": …, "amount": …}. It connects again, later each time, until a stop. */
function received({ url }, signal) {
  return Readable.from(
    (async function* () {
      for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 30_000)) {
        const socket = new WebSocket(url);
        const end = () => socket.close();
        signal.addEventListener('abort', end, { once: true });
        const waiting = [];
        let wake = () => {};
        let isOpen = true;
        socket.onmessage = ({ data }) => { waiting.push(JSON.parse(data)); wake(); };
        socket.onerror = socket.onclose = () => { isOpen = false; wake(); };
        while (isOpen || waiting.length > 0) {
          if (waiting.length === 0) await new Promise((resolve) => { wake = resolve; });
          if (waiting.length > 0) { pause = 500; yield* waiting.splice(0); }
        }
        signal.removeEventListener('abort', end);
        await sleep(pause, undefined, { signal }).catch(() => {});
      }
    })(),
  );
}

/** Every so many trades become a bar; what is left at the end becomes a shorter one. */
function bars(size) {
  let trades = [];
  const bar = () => {
    const prices = trades.map((trade) => trade.price);
    const amount = trades.reduce((sum, trade) => sum + trade.amount, 0);
    const made = { open: prices[0], high: Math.max(...prices), low: Math.min(...prices), close: prices.at(-1), amount, trades: trades.length };
    trades = [];
    return made;
  };
  return new Transform({
    objectMode: true,
    transform(trade, _, done) {
      trades.push(trade);
      if (trades.length >= size) done(null, bar());
      else done();
    },
    flush(done) {
      if (trades.length > 0) this.push(bar());
      done();
    },
  });
}

/** Where a real bot would decide. A bar is counted once it has been handled. */
function take(id) {
  return async function (source) {
    for await (const bar of source) {
      state.trades += bar.trades;
      state.volume += bar.amount;
      state.save();
      metric('close', bar.close);
      metric('volume', state.volume);
      console.log(`${id}: bar of ${bar.trades} trades, close ${bar.close.toFixed(2)}`);
    }
  };
}
