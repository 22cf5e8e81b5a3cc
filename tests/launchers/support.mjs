// A job directory as the worker lays it out, in which a test runs the launcher.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const SCRIPTS = path.join(import.meta.dirname, '../../src/runner/script');
export const SUCCESS = { status: 'success', message: 'Backtest executed successfully' };
export const TERMINATED = { status: 'terminated', message: 'Backtest execution terminated by signal' };
export const READY = "require('fs').writeFileSync('ready', '');";

/** Whether the launcher is started before its job comes. */
export const waiting = { isWarm: false };

/** Lays out a job directory, runs it to its end, and answers how it ended. */
export async function run(t, source, { script = 'main.js', config = {}, configText = JSON.stringify(config), bot = false, scheduled = false, files = {}, env = {}, signals = 0, onStart } = {}) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'launcher-'));
  t.after(() => fs.rmSync(root, { recursive: true }));
  const put = (name, text) => {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  };
  for (const name of fs.readdirSync(SCRIPTS).filter((it) => /\.[mc]js$/.test(it))) {
    put(`.longshore/${name}`, fs.readFileSync(path.join(SCRIPTS, name)));
  }
  put('node_modules/longshore/index.js', fs.readFileSync(path.join(SCRIPTS, 'longshore.cjs'))); // mounted in a container
  put('.longshore/config.json', configText);
  for (const [name, text] of Object.entries(files)) put(name, text);
  if (source !== null) put(script, source);

  const entrypoint = bot || scheduled ? 'bot' : 'backtest';
  const job = {
    ID: 'job-1',
    ENTRYPOINT_TYPE: entrypoint,
    CODE_MOUNT_DIR: entrypoint,
    SCRIPT_PATH: path.join(root, script),
    CONFIG_FILE: path.join(root, '.longshore/config.json'),
    IS_LONG_RUNNING: String(bot),
    ...(typeof env === 'function' ? env(root) : env),
  };
  const child = spawn(process.execPath, [path.join(root, '.longshore/launch.mjs')], {
    cwd: os.tmpdir(),
    env: { PATH: process.env.PATH, ...(waiting.isWarm ? { LONGSHORE_WARM: '3' } : job) },
    stdio: ['pipe', 'pipe', 'pipe', waiting.isWarm ? 'pipe' : 'ignore'],
  });
  if (waiting.isWarm) child.stdio[3].end(Object.entries(job).map(([name, value]) => `${name}=${value}\0`).join(''));
  t.after(() => child.kill('SIGKILL'));
  const output = { stdout: [], stderr: [] };
  child.stdout.on('data', (data) => output.stdout.push(data));
  child.stderr.on('data', (data) => output.stderr.push(data));
  const closed = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
  onStart?.(child);
  for (const name of ['ready', 'again'].slice(0, signals)) {
    for (let turn = 0; !fs.existsSync(path.join(root, name)); turn += 1) {
      assert.ok(turn < 1000 && child.exitCode === null, `the script never made ${name}`);
      await sleep(10);
    }
    child.kill('SIGTERM');
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const { code, signal } = await closed;
  clearTimeout(timer);
  const resultFile = path.join(root, 'result.json');
  const text = fs.statSync(resultFile, { throwIfNoEntry: false })?.isFile() ? fs.readFileSync(resultFile, 'utf8') : null;
  const stdout = Buffer.concat(output.stdout).toString();
  return {
    root,
    code: signal === 'SIGTERM' ? 143 : (code ?? signal), // as the shell that starts the launcher sees it
    stdout,
    stderr: Buffer.concat(output.stderr).toString(),
    text,
    result: text ? JSON.parse(text.replace(/^\ufeff/, '')) : undefined,
    lastLine: stdout.trimEnd().split('\n').at(-1),
    leftovers: fs.readdirSync(root).filter((name) => name.includes('tmp')),
  };
}
