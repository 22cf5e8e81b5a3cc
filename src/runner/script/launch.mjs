// Longshore's launcher for Node.js: calls `main(id, config)` of the user's script.
//
// It stands at {root}/.longshore/launch.mjs, {root} being the job's directory. However the
// call ends becomes an exit code and, for a run that is meant to end, {root}/result.json:
//
//   main returned a value           the value                   exit code 0
//   main returned nothing or null   {"status":"success",…}      exit code 0
//   an exception or rejection       {"status":"error",…}        exit code 1
//   process.exit(n)                 {"status":"error",…}        exit code n
//   SIGTERM                         {"status":"terminated",…}   exit code 143
//
// A SIGTERM listener of the user's own takes the launcher's place: then the run ends as they say.
// JavaScript hears signals only between turns of its event loop: a main that computes for minutes
// without awaiting anything is killed at the end of the worker's grace, and leaves no result.

import cluster from 'node:cluster';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

const TERMINATED = 128 + 15;

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const resultFile = path.join(root, 'result.json');
const { ID, SCRIPT_PATH, CONFIG_FILE, ENTRYPOINT_TYPE, IS_LONG_RUNNING } = process.env;
const kind = ENTRYPOINT_TYPE === 'bot' ? 'Bot' : 'Backtest';
// A cluster's workers run this file too, and the result is not their business.
const wantsResult = IS_LONG_RUNNING !== 'true' && cluster.isPrimary;
const printToStdout = process.stdout.write.bind(process.stdout);
// Into a pipe Node writes when it finds the time, and what is left at the exit is lost: rather wait.
for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);

let result; // what result.json will hold; unset while nothing has ended
let settled = false; // main has returned, thrown or been told to end
let loading = true; // the script, not its main, is at work

function end(outcome) {
  result = outcome;
  settled = true;
  // Last in the line of exit listeners, so that the result is the last line on stdout.
  process.off('exit', settle).on('exit', settle);
}

function finish(outcome, code) {
  end(outcome);
  process.exit(code);
}

function refuse(message) {
  process.stderr.write(`${message}\n`);
  finish(failure(message), 1);
}

function settle(code) {
  if (!wantsResult) return;
  let line;
  try {
    line = encode(result ?? (code === 0 ? success() : failure(`exited with code ${code}`)));
  } catch (error) {
    const message = `the result is not JSON: ${error.message.replace(/\s+/g, ' ')}`;
    process.stderr.write(`${message}\n`);
    process.exitCode ||= 1;
    line = encode(failure(message));
  }
  try {
    fs.writeFileSync(resultFile, line); // in place: it is all that can be written here
  } catch (error) {
    process.stderr.write(`cannot write ${resultFile}: ${error.message}\n`);
    process.exitCode ||= 1;
  }
  printToStdout(`${line}\n`);
}

const success = () => ({ status: 'success', message: `${kind} executed successfully` });
const failure = (message) => ({ status: 'error', message });

function sentence(error) {
  if (error instanceof SyntaxError && loading) {
    // Of a CommonJS file Node puts the place at the head of the stack: "/bot/main.js:3".
    const place = /^(\/.*):(\d+)\n/.exec(error.stack);
    const file = place ? `${place[1]}, line ${place[2]}` : `${SCRIPT_PATH} or what it imports`;
    return `SyntaxError in ${file}: ${error.message}`;
  }
  return error instanceof Error ? String(error) : inspect(error);
}

/** JSON, in which NaN and the infinities are null; what it would drop in silence is an error. */
function encode(value) {
  const places = new Map(); // of every object met, for the message
  const text = JSON.stringify(value, function (key, item) {
    const above = places.get(this);
    const place = above === undefined ? 'result' : Array.isArray(this) ? `${above}[${key}]` : `${above}.${key}`;
    if (typeof item === 'string') return item.toWellFormed();
    if (typeof item === 'bigint') throw new TypeError(`${place} is of type BigInt`);
    if (item === null || typeof item !== 'object') return item;
    if (item instanceof Map || item instanceof Set) {
      throw new TypeError(`${place} is of type ${item.constructor.name}`);
    }
    const plain = ArrayBuffer.isView(item) && Symbol.iterator in item ? Array.from(item) : item;
    places.set(plain, place);
    return plain;
  });
  if (text === undefined) throw new TypeError(`result is of type ${typeof value}`);
  return text;
}

async function loadMain() {
  if (!fs.statSync(SCRIPT_PATH, { throwIfNoEntry: false })?.isFile()) refuse(`there is no script at ${SCRIPT_PATH}`);
  // import() loads both kinds; a CommonJS script's module.exports is its `default`.
  const script = await import(pathToFileURL(SCRIPT_PATH).href);
  const exported = script.default;
  const main = [script.main, exported?.main, exported?.default, exported].find((it) => typeof it === 'function');
  if (!main) refuse(`${SCRIPT_PATH} exports no function main(id, config)`);
  loading = false;
  return main;
}

process.on('exit', settle);

// Whatever nobody catches, rejections too. Node goes on to print it and to exit with 1,
// unless a listener of the user's own decides otherwise.
process.on('uncaughtExceptionMonitor', (error) => {
  if (process.listenerCount('uncaughtException') === 0) end(failure(sentence(error)));
});

process.on('SIGTERM', () => {
  if (process.listenerCount('SIGTERM') > 1) return;
  finish({ status: 'terminated', message: `${kind} execution terminated by signal` }, TERMINATED);
});

// Nothing is left that could wake main up: without this the run would pass for a success.
process.once('beforeExit', () => {
  if (!settled) refuse('main waits for a promise that nothing is left to resolve');
});

process.chdir(root);
if (wantsResult) fs.writeFileSync(resultFile, ''); // an old file is not this run's result
const config = JSON.parse(fs.readFileSync(CONFIG_FILE, 'utf8'));
const main = await loadMain();
try {
  const returned = await main(ID, config);
  settled = true;
  // A bot may go on with its timers and sockets; a run that ends is over when main is.
  if (wantsResult) finish(returned ?? undefined, process.exitCode);
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  finish(failure(sentence(error)), 1);
}
