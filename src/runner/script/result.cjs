// From whatever main returned to JSON: loaded by launch.mjs when a run ends.
//
// What JSON has no word for becomes the nearest that it has. What has no such word is named, and the
// rest is kept.

'use strict';

const { types } = require('node:util');
const { sentence } = require('./errors.cjs');

const NAMED = 5; // of what cannot be told, this many are named
const DEEPEST = 1000; // far above what anybody reads, far below what the stack takes

class Plain {
  constructor() {
    this.problems = []; // what the run fails for
    this.dropped = []; // what JSON leaves out by itself: functions and symbols
    this.mark = `longshore-${Math.random()}-${process.hrtime.bigint()}:`; // begins a text that stands for a number
    this.marked = false;
  }

  text(value) {
    const text = JSON.stringify(value);
    return this.marked ? text.replaceAll(new RegExp(`"${this.mark}(-?\\d+)"`, 'g'), '$1') : text;
  }

  cannot(place, why) {
    this.problems.push(`${place} ${why}`);
    return null;
  }

  of(value, place, above) {
    switch (typeof value) {
      case 'string':
        return value.toWellFormed();
      case 'bigint':
        this.marked = true;
        return `${this.mark}${value}`;
      case 'function':
      case 'symbol':
        if (above.length === 0) return this.cannot(place, `is of type ${typeof value}`);
        this.dropped.push(`${place} is a ${typeof value}`);
        return undefined;
      case 'object':
        break;
      default:
        return value;
    }
    if (value === null) return null;
    if (above.includes(value)) return this.cannot(place, 'contains itself');
    if (above.length > DEEPEST) return this.cannot(place, 'is nested too deeply');
    above.push(value);
    try {
      return this.object(value, place, above);
    } catch (error) {
      return this.cannot(place, `cannot be read: ${sentence(error)}`);
    } finally {
      above.pop();
    }
  }

  object(value, place, above) {
    if (typeof value.toJSON === 'function') return this.of(value.toJSON(), place, above);
    if (types.isBoxedPrimitive(value)) return this.of(value.valueOf(), place, above);
    if (types.isNativeError(value) || value instanceof Error) return sentence(value);
    if (types.isRegExp(value)) return String(value);
    if (types.isAnyArrayBuffer(value)) return Array.from(new Uint8Array(value));
    if (types.isPromise(value)) return this.cannot(place, 'is a Promise that was not awaited');
    if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
      return this.cannot(place, `is of type ${value.constructor.name}`);
    }
    if (types.isMap(value)) {
      return this.fields([...value].map(([key, item]) => [this.key(key, place), item]), place, above);
    }
    if (Array.isArray(value)) return this.list(value, place, above);
    if (types.isTypedArray(value)) {
      return types.isBigInt64Array(value) || types.isBigUint64Array(value)
        ? this.list(Array.from(value), place, above)
        : Array.from(value);
    }
    const fields = Object.entries(value);
    if (typeof value[Symbol.iterator] === 'function' && (fields.length === 0 || typeof value.next === 'function')) {
      return this.list([...value], place, above);
    }
    // A Response, a Blob, an asynchronous generator and the like: what they hold is not in their fields.
    const kind = Object.prototype.toString.call(value).slice(8, -1);
    if (fields.length === 0 && kind !== 'Object') return this.cannot(place, `is of type ${kind}`);
    return this.fields(fields, place, above);
  }

  list(items, place, above) {
    return Array.from(items, (item, index) => this.of(item, `${place}[${index}]`, above) ?? null);
  }

  fields(entries, place, above) {
    const before = this.dropped.length;
    const copy = Object.create(null);
    for (const [key, item] of entries) copy[key.toWellFormed()] = this.of(item, `${place}.${key}`, above);
    const dropped = this.dropped.slice(before);
    if (dropped.length > 0 && Object.values(copy).every((item) => item === undefined)) {
      this.problems.push(...dropped);
      this.dropped.length = before;
    }
    return copy;
  }

  key(key, place) {
    if (key === null || typeof key !== 'object') return String(key);
    const value = this.of(key, `${place} has a key that`, []);
    return typeof value === 'string' ? value : this.text(value);
  }
}

/** The value's text, a sentence about what of it could not be told, and one about what was left out. */
function encode(value) {
  const plain = new Plain();
  const rest = plain.of(value, 'result', []);
  const text = plain.text(rest);
  const left = plain.dropped.length > 0 ? `longshore: left out of the result: ${list(plain.dropped)}` : undefined;
  if (plain.problems.length === 0) return { text, left };
  const problem = `the result is not JSON: ${list(plain.problems)}`;
  const told = JSON.stringify({ status: 'error', message: problem });
  return { text: rest === null ? told : `${told.slice(0, -1)},"result":${text}}`, problem, left };
}

function list(items) {
  const more = items.length > NAMED ? `; and ${items.length - NAMED} more` : '';
  return items.slice(0, NAMED).join('; ') + more;
}

/** The value in a file that the program wrote, and its text on one line. Throws where it is no JSON. */
function read(bytes) {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); // without a byte order mark
  const value = JSON.parse(text);
  // As it is, for digits beyond 2^53, without its line ends: within a text there is none.
  return { value, line: text.trim().replace(/\s*[\r\n]+\s*/g, '') };
}

module.exports = { encode, read };
