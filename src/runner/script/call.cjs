// What main is given, and what it gives: loaded by launch.mjs.

'use strict';

const ROUNDS = 10; // of promises that give promises

/** JSON whose integers beyond 2^53 are BigInts: as numbers they would be other ones. */
function parseConfig(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  JSON.parse(text); // it is JSON, so that what follows need not look closely
  const mark = `longshore-${Math.random()}-${process.hrtime.bigint()}:`;
  const parts = [];
  const token = /"|-?\d[\d.eE+-]*/g;
  let done = 0;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    if (found[0] === '"') {
      token.lastIndex = endOfText(text, token.lastIndex);
    } else if (/^-?\d+$/.test(found[0]) && !Number.isSafeInteger(Number(found[0]))) {
      parts.push(text.slice(done, found.index), JSON.stringify(mark + found[0]));
      done = token.lastIndex;
    }
  }
  parts.push(text.slice(done));
  const revive = (_, it) => (typeof it === 'string' && it.startsWith(mark) ? BigInt(it.slice(mark.length)) : it);
  return parts.length === 1 ? JSON.parse(text) : JSON.parse(parts.join(''), revive);
}

/** The place after the quotation mark that ends the text which began before `start`. */
function endOfText(text, start) {
  for (let end = text.indexOf('"', start); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
}

/** Whether running this source may export something: false only where it cannot. */
const mayExport = (source) => /export|module|this|eval|Function/.test(source);

/** The function main of a module's namespace. A CommonJS script's module.exports is its `default`. */
function mainOf(script) {
  const exported = script.default;
  return [script.main, exported?.main, exported?.default, exported].find((it) => typeof it === 'function');
}

const isId = (name) => /^_*(id|job|name|\w*id)_*$/i.test(name);
const isConfig = (name) => name.startsWith('{') || /^_*(conf|config|configuration|cfg|options|opts|parameters|params|settings)_*$/i.test(name);

/** The arguments for this main: the config alone where it takes one that is not the id. */
function argumentsOf(main, id, config) {
  const names = parameters(Function.prototype.toString.call(main));
  const [first, second] = names;
  if (names.length === 1 && !first.startsWith('...') && !isId(first)) return [config];
  if (names.length === 2 && isConfig(first) && isId(second)) return [config, id];
  return [id, config];
}

/** The parameters that a function's source begins with, without what they are by default. */
function parameters(source) {
  const text = source.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '');
  const single = /^(?:async\s+)?([\w$]+)\s*=>/.exec(text);
  if (single) return [single[1]];
  const names = [];
  let depth = 0;
  let name = '';
  for (const sign of text.slice(text.indexOf('('))) {
    if (depth === 1 && (sign === ',' || sign === ')')) {
      names.push(name.trim());
      name = '';
    } else if (depth > 0) {
      name += sign;
    }
    if ('([{'.includes(sign)) depth += 1;
    if (')]}'.includes(sign)) depth -= 1;
    if (depth === 0) break;
  }
  return names.filter(Boolean).map((it) => (it.startsWith('{') ? it : it.split('=')[0].trim()));
}

const kindOf = (value) => Object.prototype.toString.call(value).slice(8, -1);

/** What main gave, with what it yields collected and the promises within awaited. */
async function settled(value, keep) {
  if (kindOf(value) === 'Generator' || kindOf(value) === 'AsyncGenerator') {
    const values = [];
    for (;;) {
      const { value: item, done } = await value.next();
      if (done) return settled(item ?? values, keep);
      if (keep) values.push(item);
    }
  }
  for (let round = 0; keep && round < ROUNDS; round += 1) {
    const found = [];
    findPromises(value, found, new Set());
    if (found.length === 0) break;
    await Promise.all(found.map(async ([promise, put]) => put(await promise)));
  }
  return value;
}

function findPromises(value, found, seen) {
  if (value === null || typeof value !== 'object' || seen.has(value) || ArrayBuffer.isView(value)) return;
  seen.add(value);
  const look = (item, put) => {
    if (kindOf(item) === 'Promise') found.push([item, put]);
    else findPromises(item, found, seen);
  };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (typeof value[index] === 'object') look(value[index], (it) => void (value[index] = it));
    }
  } else if (value instanceof Map) {
    for (const [key, item] of value) look(item, (it) => void value.set(key, it));
  } else if (value instanceof Set) {
    for (const item of value) look(item, (it) => void (value.delete(item), value.add(it)));
  } else {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      if (property.enumerable && property.writable && typeof property.value === 'object') {
        look(property.value, (it) => void (value[key] = it));
      }
    }
  }
}

module.exports = { argumentsOf, mainOf, mayExport, parseConfig, settled };
