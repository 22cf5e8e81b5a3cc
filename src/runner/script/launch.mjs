// Longshore's launcher for Node.js: calls `main(id, config)` of the user's script.
//
// It stands at {root}/.longshore/launch.mjs, {root} being the job's directory. However the
// call ends becomes an exit code and, for a run that is meant to end, {root}/result.json:
//
//   main returned a value           the value                   exit code 0
//   main returned nothing or null   what it wrote there itself, or else
//                                   {"status":"success",…}      exit code 0
//   an exception or rejection       {"status":"error",…}        exit code 1
//   process.exit(n)                 {"status":"error",…}        exit code n
//   SIGTERM                         {"status":"terminated",…}   exit code 143
//
// A SIGTERM listener of the user's own takes the launcher's place: then the run ends as they say.
// JavaScript hears signals only between turns of its event loop: a main that computes for long without
// awaiting anything is ended by the shell that started it, to which the name of this process shows
// that it has not heard.

import cluster from 'node:cluster';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inspect, types } from 'node:util';

const TERMINATED = 128 + 15;
const DEAF = 'longshore:job'; // see crates/longshore-init
const own = createRequire(import.meta.url); // what not every moment of a run needs, loaded then

takeJob();
const { CODE_MOUNT_DIR } = process.env;
const place = path.dirname(fileURLToPath(import.meta.url));
// A container that waited for its job has the job's directory in two places.
const root = place === '/backtest/.longshore' ? `/${CODE_MOUNT_DIR}` : path.dirname(place);
const resultFile = path.join(root, 'result.json');
const { ID, SCRIPT_PATH, CONFIG_FILE, ENTRYPOINT_TYPE, IS_LONG_RUNNING } = process.env;
const kind = ENTRYPOINT_TYPE === 'bot' ? 'Bot' : 'Backtest';
// A cluster's workers run this file too, and the result is not their business.
const wantsResult = IS_LONG_RUNNING !== 'true' && cluster.isPrimary;
const printToStdout = process.stdout.write.bind(process.stdout);
// Into a pipe Node writes when it finds the time, and what is left at the exit is lost: rather wait.
for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);

/** In a container that was started before its job: waits until the helper sends the job's environment. */
function takeJob() {
  const { LONGSHORE_WARM } = process.env;
  if (LONGSHORE_WARM === undefined) return;
  delete process.env.LONGSHORE_WARM;
  own('./call.cjs');
  const lines = fs.readFileSync(Number(LONGSHORE_WARM), 'utf8').split('\0').filter(Boolean);
  fs.closeSync(Number(LONGSHORE_WARM));
  if (lines.length === 0) process.reallyExit(TERMINATED); // the helper has ended without a job
  for (const line of lines) process.env[line.slice(0, line.indexOf('='))] = line.slice(line.indexOf('=') + 1);
}

let result; // what result.json will hold; unset while nothing has ended
let settled = false; // main has returned, thrown or been told to end
let loading = true; // the script, not its main, is at work
let hasMain = true;
let isSweep = false;
let isWritten = false; // the result
let isOver = false; // all but the process itself

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

const packArtifacts = process.env.ARTIFACTS_DIR && cluster.isPrimary ? own('./artifacts.cjs').begin(place) : () => {};

function settle(code) {
  packArtifacts();
  if (code !== 0 && result?.status === 'error' && cluster.isPrimary) own('./errors.cjs').note(result.message, place);
  if (!wantsResult || isWritten) return;
  isWritten = true;
  let line;
  const written = result === undefined ? ownResult(code) : undefined;
  if (written?.line) {
    print(written.line);
    return;
  }
  try {
    const { text, problem, left } = own('./result.cjs').encode(result ?? written.value);
    line = text;
    if (left) process.stderr.write(`${left}\n`);
    if (problem) fail(problem);
  } catch (error) {
    const message = `the result is not JSON: ${error.message.replace(/\s+/g, ' ')}`;
    line = JSON.stringify(fail(message));
  }
  try {
    fs.writeFileSync(resultFile, line); // in place: it is all that can be written here
  } catch (error) {
    process.stderr.write(`cannot write ${resultFile}: ${error.message}\n`);
    process.exitCode ||= 1;
  }
  print(line);
}

function print(line) {
  if (!isSweep) printToStdout(`${line}\n`);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode ||= 1;
  return failure(message);
}

/** What stands for the result where main gave none: the file that the program wrote itself, or a word about the end. */
function ownResult(code) {
  let bytes = '';
  try {
    bytes = fs.readFileSync(resultFile);
  } catch {} // it cannot be written either, which is said then
  const isEmpty = String(bytes).trim() === '';
  try {
    const written = isEmpty ? undefined : own('./result.cjs').read(bytes);
    if (code !== 0) return written?.value?.status === 'error' ? written : { value: failure(`exited with code ${code}`) };
    if (written) return written;
  } catch (error) {
    if (code !== 0) return { value: failure(`exited with code ${code}`) };
    return { value: fail(`the result.json that the program wrote is not valid JSON: ${error.message.replace(/\s+/g, ' ')}`) };
  }
  return { value: hasMain ? success() : fail(`${SCRIPT_PATH} exports no function main(id, config), and wrote no result.json`) };
}

const success = () => ({ status: 'success', message: `${kind} executed successfully` });
const failure = (message) => ({ status: 'error', message });

const sentence = (error) => own('./errors.cjs').explain(error, { root, script: loading ? SCRIPT_PATH : undefined });

async function loadMain() {
  if (!fs.statSync(SCRIPT_PATH, { throwIfNoEntry: false })?.isFile()) refuse(`there is no script at ${SCRIPT_PATH}`);
  const source = fs.readFileSync(SCRIPT_PATH, 'latin1');
  const missing = `${SCRIPT_PATH} exports no function main(id, config)`;
  const writesResult = wantsResult && source.includes('result.json');
  if (!writesResult && !own('./call.cjs').mayExport(source)) refuse(missing);
  // import() loads both kinds; a CommonJS script's module.exports is its `default`.
  const script = await import(pathToFileURL(SCRIPT_PATH).href);
  const main = own('./call.cjs').mainOf(script);
  if (!main && !writesResult) refuse(missing);
  loading = false;
  return main;
}

/** Runs many configs, each of which loads the script elsewhere. What this gives is only for the verdict. */
async function runSweep() {
  isSweep = true;
  try {
    finish(await own('./sweep.cjs').run(place));
  } catch (problem) {
    refuse(problem instanceof Error ? sentence(problem) : problem);
  }
}

process.on('exit', settle);
// A listener of the user's own for exits may call process.exit() itself, which skips all that come after it.
const { reallyExit } = process;
process.reallyExit = (code) => {
  settle(code);
  if (code === TERMINATED) dieOfSigterm();
  reallyExit.call(process, process.exitCode ?? code);
};

/** At an exit Node.js waits for what is at work outside of its event loop, such as a hash or the look-up of a name. */
function dieOfSigterm() {
  isOver = true;
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM'); // which nobody hears now: exit code 143
}

// Whatever nobody catches, rejections too. Node goes on to print it and to exit with 1,
// unless a listener of the user's own decides otherwise.
process.on('uncaughtExceptionMonitor', (error) => {
  if (process.listenerCount('uncaughtException') === 0) end(failure(sentence(error)));
});

function terminate() {
  bear('node');
  finish({ status: 'terminated', message: `${kind} execution terminated by signal` }, TERMINATED);
}

function bear(name) {
  try {
    fs.writeFileSync('/proc/self/comm', name);
  } catch {} // then the shell waits for as long as the worker does
}

// Ours is there while there is no other: libraries look whether theirs is the only one. Without a moment in
// between: a signal that nobody listens for would end the process, or be forgotten.
process.prependListener('newListener', (name, listener) => {
  if (name !== 'SIGTERM') return;
  bear(listener === terminate ? DEAF : 'node');
  if (listener !== terminate) queueMicrotask(giveWay);
});
process.prependListener('removeListener', (name, listener) => {
  if (name === 'SIGTERM' && listener !== terminate && !isOver && process.listenerCount('SIGTERM') === 0) process.on('SIGTERM', terminate);
});

function giveWay() {
  if (process.listenerCount('SIGTERM') > 1) process.off('SIGTERM', terminate);
  else if (process.listeners('SIGTERM')[0] === terminate) bear(DEAF);
}

process.on('SIGTERM', terminate);

// Nothing is left that could wake main up: without this the run would pass for a success.
process.once('beforeExit', () => {
  if (!hasMain) process.exit();
  if (!settled) refuse('main waits for a promise that nothing is left to resolve');
});

process.chdir(root);
if (wantsResult) fs.writeFileSync(resultFile, ''); // an old file is not this run's result
if (wantsResult && fs.existsSync(path.join(place, 'sweep'))) await runSweep();
const { argumentsOf, parseConfig, settled: allSettled } = own('./call.cjs');
const main = await loadMain();
try {
  hasMain = Boolean(main);
  const given = main && argumentsOf(main, ID, parseConfig(fs.readFileSync(CONFIG_FILE, 'utf8')));
  // A script without a main, which writes its result itself, is over when nothing keeps it alive.
  const returned = await (main ? main(...given) : new Promise(() => {}));
  const value = await allSettled(returned, wantsResult);
  if (types.isNativeError(value)) throw value;
  settled = true;
  // A bot may go on with its timers and sockets; a run that ends is over when main is.
  if (wantsResult) finish(value ?? undefined, process.exitCode);
} catch (error) {
  process.stderr.write(`${inspect(error)}\n`);
  // A SIGTERM that came while main held the event loop is heard within two turns of it.
  for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
  finish(failure(sentence(error)), 1);
}
