// What went wrong in the user's code, as a sentence for the result: loaded by launch.mjs.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { inspect, types } = require('node:util');

const DEEPEST = 20; // causes that are followed

/** An error, what caused it, what caused that. Of several, the first. */
function* chain(error) {
  for (let depth = 0; depth < DEEPEST && error !== undefined && error !== null; depth += 1) {
    yield error;
    if (typeof error !== 'object') return;
    error = Array.isArray(error.errors) && error.errors.length > 0 ? error.errors[0] : error.cause;
  }
}

const one = (error) => (types.isNativeError(error) || error instanceof Error ? String(error) : inspect(error));

/** The error itself, and what was at the beginning of it. */
function sentence(error) {
  const text = one(error);
  const cause = one([...chain(error)].at(-1) ?? error);
  return text.includes(cause) ? text : `${text} (caused by ${cause})`;
}

/** A sentence about an error, with what to do about it. `script`: that which is being loaded. */
function explain(error, { root, script }) {
  if (error instanceof SyntaxError && script) {
    // Of a CommonJS file Node puts the place at the head of the stack: "/bot/main.js:3".
    const place = /^(\/.*):(\d+)\n/.exec(error.stack);
    const file = place ? `${place[1]}, line ${place[2]}` : `${script} or what it imports`;
    return `SyntaxError in ${file}: ${error.message}`;
  }
  const advice = advise(error, root);
  if (advice) process.stderr.write(`longshore: ${advice}\n`);
  return advice ? `${sentence(error)} (${advice})` : sentence(error);
}

/** What to do about an error that comes from the bounds of a job; undefined for others. */
function advise(error, root) {
  for (const it of chain(error)) {
    const advice = typeof it === 'object' ? adviceOn(it, root) : undefined;
    if (advice) return advice;
  }
  return undefined;
}

function adviceOn({ code, path: file, dest, syscall = '' }, root) {
  switch (code) {
    case 'EROFS':
    case 'EACCES':
    case 'EPERM': {
      if (typeof file !== 'string') return undefined;
      const place = path.resolve(file);
      if (place === root || place.startsWith(root + path.sep)) {
        return `write to /tmp instead: ${root} is read-only unless the worker's setting BOT_READ_ONLY_CODE is false`;
      }
      if (place.startsWith('/tmp/')) return undefined;
      return "write to /tmp instead: all else is read-only unless the worker's setting BOT_READ_ONLY_ROOT is false";
    }
    case 'EBUSY':
    case 'EXDEV':
      if (!`${file} ${dest}`.includes('result.json')) return undefined;
      return 'write result.json in place: no other file can be put there';
    case 'ENOSPC':
    case 'EDQUOT':
      return '/tmp is all that a job can write, and it is in memory: its size is BOT_TMP_MB';
    case 'EFBIG':
      return 'the size of a file is bounded by BOT_FILE_SIZE_LIMIT_MB, and that of /tmp by BOT_TMP_MB';
    case 'EMFILE':
    case 'ENFILE':
      return 'the number of open files is bounded by BOT_OPEN_FILES_LIMIT';
    case 'EAGAIN':
      if (!syscall.startsWith('spawn')) return undefined;
      return 'the number of threads and processes is bounded by limits.pids of the start message and BOT_PIDS_LIMIT';
    default:
      return undefined;
  }
}

const MAX_NOTE = 2048; // bytes of the exit note after which none is added: the worker reads 4,096
const MAX_SAID = 1024; // bytes of a sentence in it

/** Adds a sentence to the exit note: the result's message tells it, also of a bot, which has no result. */
function note(text, own) {
  const { O_WRONLY, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const line = Buffer.from(`said ${text.replace(/\s+/g, ' ').trim()}`).subarray(0, MAX_SAID);
  try {
    const file = fs.openSync(path.join(own, 'exit-note'), O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK);
    if (fs.fstatSync(file).size < MAX_NOTE) fs.writeSync(file, Buffer.concat([line, Buffer.from('\n')]));
    fs.closeSync(file);
  } catch {} // then the message is the exit code alone
}

module.exports = { explain, note, sentence };
