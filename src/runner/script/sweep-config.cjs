// Runs configs of a sweep where their code is: in a worker thread or a process that sweep-host.cjs started.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { inspect, types } = require('node:util');
const { isMainThread, parentPort, workerData } = require('node:worker_threads');
const { argumentsOf, mainOf, mayExport, parseConfig, settled } = require('./call.cjs');
const { explain } = require('./errors.cjs');
const { encode } = require('./result.cjs');

const { ID, SCRIPT_PATH, CONFIG_FILE } = process.env;
const root = path.dirname(__dirname);
const success = () => ({ status: 'success', message: 'Backtest executed successfully' });
const failure = (message) => ({ status: 'error', message });

let most; // bytes of a result
let tell; // how a config ended
let isRunning = false;
let main; // of the script, once it is loaded

/** Runs a config: its number, and what differs from the job's config. */
async function run({ patch }, options = {}) {
  ({ most = most, tell = tell } = options);
  if (options.isThread === false) {
    for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true); // as in launch.mjs
    watch();
  }
  isRunning = true;
  try {
    const config = laidOver(parseConfig(fs.readFileSync(CONFIG_FILE, 'utf8')), parseConfig(patch));
    globalThis[Symbol.for('longshore.config')] = config;
    main ??= await load();
    const value = await settled(await main(...argumentsOf(main, ID, config)), true);
    if (types.isNativeError(value)) throw value;
    end(process.exitCode ?? 0, value ?? success());
  } catch (error) {
    fail(error);
  }
}

async function load() {
  if (!fs.statSync(SCRIPT_PATH, { throwIfNoEntry: false })?.isFile()) throw new Refused(`there is no script at ${SCRIPT_PATH}`);
  const missing = new Refused(`${SCRIPT_PATH} exports no function main(id, config)`);
  if (!mayExport(fs.readFileSync(SCRIPT_PATH, 'latin1'))) throw missing;
  const found = mainOf(await import(pathToFileURL(SCRIPT_PATH).href));
  if (!found) throw missing;
  return found;
}

class Refused extends Error {}

function fail(error) {
  const isLoading = main === undefined;
  process.stderr.write(`${error instanceof Refused ? error.message : inspect(error)}\n`);
  const said = error instanceof Refused ? error.message : explain(error, { root, script: isLoading ? SCRIPT_PATH : undefined });
  end(1, failure(said), { problem: isLoading ? said : undefined });
}

function end(code, result, more) {
  if (!isRunning) return;
  isRunning = false;
  let encoded;
  try {
    encoded = encode(result);
  } catch (error) {
    const said = `the result is not JSON: ${error.message.replace(/\s+/g, ' ')}`;
    encoded = { text: JSON.stringify(failure(said)), problem: said };
  }
  for (const said of [encoded.left, encoded.problem]) if (said) process.stderr.write(`${said}\n`);
  const bytes = Buffer.byteLength(encoded.text);
  const text = bytes > most ? undefined : encoded.text;
  process.exitCode = undefined;
  tell({ code: code || (encoded.problem ? 1 : 0), bytes, text, loaded: main !== undefined, ...more });
}

/** RFC 7396: objects are merged, any other value replaces the one there, and null removes it. */
function laidOver(value, patch) {
  if (!isObject(patch)) return patch;
  const fields = new Map(isObject(value) ? Object.entries(value) : []);
  for (const [key, item] of Object.entries(patch)) {
    if (item === null) fields.delete(key);
    else fields.set(key, laidOver(fields.get(key), item));
  }
  return Object.fromEntries(fields);
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** However else the code ends. */
function watch() {
  process.on('uncaughtExceptionMonitor', (error) => {
    if (process.listenerCount('uncaughtException') === 0) fail(error);
  });
  process.on('exit', (code) => {
    end(code, code === 0 ? success() : failure(`exited with code ${code}`), { isLast: true });
  });
  process.once('beforeExit', () => {
    if (isRunning) fail(new Refused('main waits for a promise that nothing is left to resolve'));
  });
}

/** In a thread, what is written goes through its parent's event loop, and is lost where the thread is killed. */
function writeAtOnce(stream, file) {
  const write = (chunk, encoding) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    for (let at = 0; at < bytes.length; ) {
      try {
        at += fs.writeSync(file, bytes, at);
      } catch (error) {
        if (error.code !== 'EAGAIN') return;
      }
    }
  };
  stream._write = (chunk, encoding, done) => done(write(chunk, encoding));
  stream._writev = (chunks, done) => {
    for (const { chunk, encoding } of chunks) write(chunk, encoding);
    done();
  };
}

if (!isMainThread && workerData?.longshore) {
  const { given, isShared } = workerData.longshore;
  ({ most } = workerData.longshore);
  const post = parentPort.postMessage.bind(parentPort);
  tell = (told) => post({ longshore: told });
  writeAtOnce(process.stdout, 1);
  writeAtOnce(process.stderr, 2);
  watch();
  if (isShared) {
    parentPort.on('message', (next) => {
      parentPort.unref(); // else a main that nothing can wake up would wait for ever
      run(next).finally(() => parentPort.ref());
    });
  } else {
    run(given);
  }
}

module.exports = { run };
