// A bot in Node.js: logs a heartbeat at an interval until it is stopped.
//
// What Longshore asks of a bot: an exported `main(id, config)`, and something that keeps it
// alive. Without a listener for SIGTERM a bot ends at once when it is stopped (exit code 143);
// with one it may tidy up, and has 30 seconds before it is killed. An error that nobody
// catches, a rejected promise too, ends the bot as failed.

import { once } from 'node:events';

export async function main(id, config) {
  const seconds = config.interval_seconds ?? 1;
  if (!(seconds > 0)) throw new RangeError('interval_seconds must be above 0');
  console.log(`${id}: a heartbeat every ${seconds} s`);

  const started = Date.now();
  let beats = 0;
  const timer = setInterval(() => {
    beats += 1;
    const up = Math.round((Date.now() - started) / 1000);
    console.log(`${new Date().toISOString()} ${id} beat ${beats}, up ${up} s`);
  }, seconds * 1000);

  await once(process, 'SIGTERM');
  clearInterval(timer); // nothing is left to do, so the process ends, with exit code 0
  console.log(`${id}: goodbye after ${beats} beats`);
}
