// What a program gets by `require('longshore')` or `import … from 'longshore'`: its config, its state, its
// artifacts, how far it says that it is, what it measures, and whether it must stop.
//
// It is mounted at /node_modules/longshore, so a package of this name that the program brings wins. The form of
// the state's file is in crates/longshore-job/src/state/file.rs.

'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { ARTIFACTS_DIR, CONFIG_FILE, STATE_FILE, STATE_MAX_KB } = process.env;
const HEADER = 128;
const MARK = 'longshore-state 1 ';
const most = Number(STATE_MAX_KB ?? 0) * 1024;

/** The config of the start message; in a sweep that of the config for which the script was loaded. */
exports.config = globalThis[Symbol.for('longshore.config')] ?? require(path.join(path.dirname(CONFIG_FILE), 'call.cjs')).parseConfig(fs.readFileSync(CONFIG_FILE, 'utf8'));

/** The place for an artifact with this path. Its folders are made. */
exports.artifact = function artifact(name) {
  if (!ARTIFACTS_DIR) throw new Error('the start message asks for no artifacts: add "artifacts": {} to it, or --artifacts');
  const place = path.resolve(ARTIFACTS_DIR, name);
  if (!place.startsWith(`${ARTIFACTS_DIR}/`)) throw new Error(`${JSON.stringify(name)} leads out of the directory of artifacts`);
  fs.mkdirSync(path.dirname(place), { recursive: true });
  return place;
};

/** Says how far the program is: a number from 0 to 100, and perhaps a text. */
exports.progress = function progress(percent, text = '') {
  const line = `::longshore progress ${Number(percent)} ${String(text).replace(/\s+/g, ' ').trim()}`;
  process.stdout.write(`${line.trimEnd()}\n`);
};

/** Adds a point to the series of this name. `at` is where it is, if not at the present: a number, a Date or its text. */
exports.metric = function metric(name, value, at = '') {
  if (!/^[A-Za-z_][A-Za-z0-9_.:/-]{0,63}$/.test(name) || name === 'progress') throw new TypeError(`${JSON.stringify(name)} is no name for a series`);
  const place = String(at instanceof Date ? at.toISOString() : at).replace(/\s+/g, ' ').trim();
  process.stdout.write(`${`::longshore metric ${name} ${Number(value)} ${place}`.trimEnd()}\n`);
};

/** What this bot has kept, and keeps for its next attempt or run once `save()` is called. */
exports.state = Object.defineProperty(restored(), 'save', { value: save, enumerable: false });

function restored() {
  const content = STATE_FILE ? fs.readFileSync(STATE_FILE) : Buffer.alloc(0);
  const newest = newestGood(slotsOf(content));
  const text = String(newest ? newest.text : content).trim();
  const value = text ? JSON.parse(text) : {};
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new TypeError('the state that was kept is no object');
  return value;
}

function save() {
  if (!STATE_FILE) throw new Error('the start message asks for no state: add "state": {} to it, or --state');
  const text = Buffer.from(JSON.stringify(exports.state));
  const isTooLarge = text.length > most;
  const file = fs.openSync(STATE_FILE, 'r+');
  try {
    const slots = slotsOf(fs.readFileSync(STATE_FILE));
    const number = slots.reduce((highest, slot) => (slot.number > highest ? slot.number : highest), 0n) + 1n;
    // Never the place of the newest that is good. At first that is the text of the worker, at the beginning.
    const place = (newestGood(slots)?.place ?? 0) === 0 ? HEADER + most : 0;
    const slot = slotOf(number, text.length, isTooLarge ? Buffer.alloc(0) : text);
    for (let at = 0; at < slot.length; ) at += fs.writeSync(file, slot, at, slot.length - at, place + at);
  } finally {
    fs.closeSync(file);
  }
  if (isTooLarge) throw new RangeError(`the state has ${text.length} bytes, more than the ${most} of state.max_kb=${STATE_MAX_KB}`);
}

/** The slots that are whole; one that was refused has no text. */
function slotsOf(content) {
  return [0, HEADER + most].flatMap((place) => {
    const header = content.subarray(place, place + HEADER).toString('latin1');
    const fields = /^longshore-state 1 ([0-9a-f]{16}) ([0-9a-f]{8}) [0-9a-f]{64} +\n$/.exec(header);
    if (!fields) return [];
    const [number, length] = [BigInt(`0x${fields[1]}`), Number(`0x${fields[2]}`)];
    const text = length > most ? Buffer.alloc(0) : content.subarray(place + HEADER, place + HEADER + length);
    if (slotOf(number, length, text).toString('latin1', 0, HEADER) !== header) return [];
    return [{ number, text: length > most ? undefined : text, place }];
  });
}

function newestGood(slots) {
  const good = slots.filter((slot) => slot.text !== undefined);
  return good.sort((one, other) => (one.number > other.number ? -1 : 1))[0];
}

function slotOf(number, length, text) {
  const head = `${number.toString(16).padStart(16, '0')} ${length.toString(16).padStart(8, '0')}`;
  const hash = createHash('sha256').update(`${head}\n`).update(text).digest('hex');
  return Buffer.concat([Buffer.from(`${`${MARK}${head} ${hash}`.padEnd(HEADER - 1)}\n`), text]);
}

/** Whether the run must stop. From the first use on, a stop no longer ends the program: it is to end by itself. */
class Stopping {
  #controller;

  /** An AbortSignal, for timers, fetch and the like. */
  get signal() {
    if (!this.#controller) {
      this.#controller = new AbortController();
      process.on('SIGTERM', () => this.#controller.abort());
    }
    return this.#controller.signal;
  }

  get aborted() {
    return this.signal.aborted;
  }

  /** Waits for a stop, for so many milliseconds at most. Says whether there was one. */
  wait(milliseconds) {
    const { signal } = this;
    if (signal.aborted) return Promise.resolve(true);
    return new Promise((resolve) => {
      // Without a bound, the timer only keeps the process alive.
      const timer = milliseconds === undefined ? setInterval(() => {}, 2 ** 30) : setTimeout(done, milliseconds);
      signal.addEventListener('abort', done, { once: true });
      function done() {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve(signal.aborted);
      }
    });
  }
}

exports.stopping = new Stopping();
