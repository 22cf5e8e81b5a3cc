// Writes prices.csv: 500 daily bars that wander about 100 and are drawn back to it. They are
// made up, and the same each time.

const fs = require('node:fs');
const path = require('node:path');

const [BARS, CENTRE, PULL, VOLATILITY, GAP] = [500, 100, 0.06, 1.3, 0.25];

// mulberry32, for Math.random takes no seed.
let state = 11;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const lines = ['date,open,close'];
const day = new Date(Date.UTC(2023, 0, 2));
for (let close = CENTRE; lines.length <= BARS; day.setUTCDate(day.getUTCDate() + 1)) {
  if ([0, 6].includes(day.getUTCDay())) continue; // no weekends
  const open = close + GAP * normal();
  close = open + PULL * (CENTRE - open) + VOLATILITY * normal();
  lines.push(`${day.toISOString().slice(0, 10)},${open.toFixed(2)},${close.toFixed(2)}`);
}
fs.writeFileSync(path.join(__dirname, 'prices.csv'), `${lines.join('\n')}\n`);
