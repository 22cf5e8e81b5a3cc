// What programs get by `require('longshore')` (src/runner/script/longshore.cjs), tried in job directories.
//
//   node --test tests/launchers/

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { READY, run } from './support.mjs';

const HEADER = 128;
const FILE = '.longshore/state';
const env = (root) => ({ STATE_FILE: path.join(root, FILE), STATE_MAX_KB: '1' });
const COUNTS = `
  import { config, state } from 'longshore';
  export function main() {
    for (let turn = 0; turn < (config.times ?? 1); turn += 1) {
      state.n = (state.n ?? 0) + 1;
      state.save();
    }
    console.log(JSON.stringify(state));
  }`;

/** The texts of both slots, by their numbers. */
function slots(content) {
  const found = {};
  for (const place of [0, HEADER + 1024]) {
    const header = content.toString('latin1', place, place + HEADER);
    if (!header.startsWith('longshore-state 1 ')) continue;
    const [number, length] = header.split(' ').slice(2, 4).map((field) => Number(`0x${field}`));
    found[number] = content.toString('utf8', place + HEADER, place + HEADER + length);
  }
  return found;
}

const counted = (t, kept, config) => run(t, COUNTS, { script: 'main.mjs', config, files: { [FILE]: kept }, env });
const stateOf = (ended) => fs.readFileSync(path.join(ended.root, FILE));

describe('state', () => {
  test('what was kept is there, and what is saved is written', async (t) => {
    const ended = await counted(t, '{"n": 41}');
    assert.equal(ended.stdout.split('\n')[0], '{"n":42}', ended.stderr);
    assert.deepEqual(slots(stateOf(ended)), { 1: '{"n":42}' });
    assert.ok(stateOf(ended).toString().startsWith('{"n": 41}'), 'the text of the worker is gone');
  });

  test('slots are written in turn and read again, and a torn one costs only the newest', async (t) => {
    const first = await counted(t, '', { times: 4 });
    assert.deepEqual(slots(stateOf(first)), { 3: '{"n":3}', 4: '{"n":4}' });
    const again = await counted(t, stateOf(first));
    assert.deepEqual(slots(stateOf(again)), { 4: '{"n":4}', 5: '{"n":5}' });
    const torn = Buffer.from(stateOf(first));
    torn[torn.indexOf('{"n":4}') + 3] = 0x23;
    const after = await counted(t, torn);
    assert.equal(after.stdout.split('\n')[0], '{"n":4}', after.stderr);
    assert.deepEqual(slots(stateOf(after)), { 3: '{"n":3}', 4: '{"n":4}' });
  });

  test('what is too large is refused, and the last good one stays', async (t) => {
    const source = `
      const { state } = require('longshore');
      exports.main = () => {
        state.n = 1;
        state.save();
        state.text = 'x'.repeat(2000);
        const told = [1, 2].map(() => { try { state.save(); } catch (error) { return error.message; } });
        delete state.text;
        state.n = 2;
        state.save();
        return told;
      };`;
    const ended = await run(t, source, { files: { [FILE]: '' }, env });
    assert.deepEqual(ended.result, Array(2).fill('the state has 2017 bytes, more than the 1024 of state.max_kb=1'), ended.stderr);
    assert.deepEqual(slots(stateOf(ended)), { 1: '{"n":1}', 4: '{"n":2}' });
  });

  test('without a state there is an empty one that cannot be saved', async (t) => {
    const { result } = await run(t, "exports.main = () => require('longshore').state.save();");
    assert.match(result.message, /the start message asks for no state: add "state": \{\}/);
    const list = await run(t, "exports.main = () => require('longshore').state;", { files: { [FILE]: '[1]' }, env });
    assert.match(list.result.message, /the state that was kept is no object/);
  });
});

test('the config is there for both kinds of scripts, and a package of the program wins', async (t) => {
  const config = { big: 1, text: 'x' };
  const source = "import longshore, { config } from 'longshore'; export const main = () => [config, longshore.config === config];";
  assert.deepEqual((await run(t, source, { script: 'main.mjs', config })).result, [config, true]);
  const own = { 'lib/node_modules/longshore/index.js': 'exports.mine = true;' };
  const { result } = await run(t, "exports.main = () => require('longshore').mine;", { script: 'lib/main.js', files: own });
  assert.equal(result, true);
});

test('an artifact has a place within the directory', async (t) => {
  const source = `
    const { artifact } = require('longshore');
    exports.main = () => {
      require('fs').writeFileSync(artifact('plots/a.txt'), 'x');
      artifact('../a');
    };`;
  const artifacts = (root) => ({ ARTIFACTS_DIR: path.join(root, 'left'), ARTIFACTS_MAX_MB: '1', ARTIFACTS_MAX_FILES: '9' });
  const ended = await run(t, source, { files: { '.longshore/artifacts': '' }, env: artifacts });
  assert.match(ended.result.message, /"..\/a" leads out of the directory of artifacts/);
  assert.equal(fs.readFileSync(path.join(ended.root, 'left/plots/a.txt'), 'utf8'), 'x');
  const none = await run(t, "exports.main = () => require('longshore').artifact('a');");
  assert.match(none.result.message, /asks for no artifacts: add "artifacts": \{\}/);
});

test('how far it is is a line of its own', async (t) => {
  const source = `
    import { progress } from 'longshore';
    export const main = () => {
      progress(37, ' loading\\n::longshore progress 99\\tprices ');
      progress(12.5);
      progress(NaN, 5);
    };`;
  const ended = await run(t, source, { script: 'main.mjs' });
  assert.deepEqual(
    ended.stdout.split('\n').slice(0, 3),
    ['::longshore progress 37 loading ::longshore progress 99 prices', '::longshore progress 12.5', '::longshore progress NaN 5'],
    ended.stderr,
  );
});

test('a bot that looks whether it must stop ends by itself', async (t) => {
  const source = `
    const { stopping } = require('longshore');
    exports.main = async () => {
      if (await stopping.wait(10)) throw new Error('too early');
      ${READY}
      while (!(await stopping.wait(30_000)));
      console.log('ends', stopping.aborted, await stopping.wait());
      return 'done';
    };`;
  const ended = await run(t, source, { signals: 1 });
  assert.deepEqual([ended.code, ended.result], [0, 'done'], ended.stderr);
  assert.equal(ended.stdout.split('\n')[0], 'ends true true');
});

test('a bot that only imports it is ended by a stop', async (t) => {
  const source = `import 'longshore'; export async function main() { (await import('node:fs')).writeFileSync('ready', ''); await new Promise((r) => setTimeout(r, 600_000)); }`;
  assert.equal((await run(t, source, { script: 'main.mjs', signals: 1 })).code, 143);
});
