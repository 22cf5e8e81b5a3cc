// Tests of sweeps of the Node.js launcher: each config has a row, and what it breaks is its own.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { run } from './support.mjs';

const ISOLATIONS = ['isolate', 'shared', 'process'];
const ORDER = {
  total: 0, isolation: 'isolate', parallel: 2, processors: 2, timeout_seconds: null, failures_left: null,
  max_result_bytes: 1000, output_bytes: 100, max_bytes: 1_000_000,
};

/** Runs a sweep, and answers how it ended, with its rows in the order of their numbers. */
async function sweep(t, source, patches, { order = {}, files = {}, ...options } = {}) {
  const lines = patches.map((patch, index) => (Array.isArray(patch) ? patch : [index, patch]));
  const text = [JSON.stringify({ ...ORDER, ...order }), ...lines.map(([index, patch]) => `${index}\t${JSON.stringify(patch)}`)];
  const ended = await run(t, source, {
    ...options,
    files: { '.longshore/sweep': `${text.join('\n')}\n`, '.longshore/rows': '', ...files },
  });
  const rows = fs.readFileSync(path.join(ended.root, '.longshore/rows'), 'utf8').split('\n').slice(0, -1);
  ended.rows = rows.map((row) => {
    const [told, result] = row.split('\t');
    return { ...JSON.parse(told), result: result ? JSON.parse(result) : undefined };
  });
  ended.rows.sort((one, other) => one.index - other.index);
  return ended;
}

const numbers = (count) => Array.from({ length: count }, (_, n) => ({ n }));

describe('sweeps', { concurrency: 2 }, () => {
  for (const isolation of ISOLATIONS) {
    test(`${isolation}: each config is laid over the job's, and has one row`, async (t) => {
      const ended = await sweep(
        t,
        "console.log('loaded'); exports.main = (id, config) => ({ id, config, at: process.cwd() })",
        [{ a: 2 }, { risk: { stop: 0.5 } }, { a: null, risk: { take: null } }, [7, { big: 9007199254740993n.toString() }]],
        { order: { isolation }, configText: '{"a":1,"risk":{"stop":1,"take":9},"id":9007199254740993}' },
      );
      assert.deepEqual([ended.code, ended.result], [0, { status: 'success', message: 'ran 4 configs' }], ended.stderr);
      assert.equal(ended.stdout, '');
      assert.deepEqual(ended.rows.map((row) => [row.index, row.exit_code]), [[0, 0], [1, 0], [2, 0], [7, 0]]);
      const { config, id, at } = ended.rows[1].result;
      assert.deepEqual([id, config.a, config.risk, at], ['job-1', 1, { stop: 0.5, take: 9 }, ended.root]);
      assert.deepEqual(ended.rows[2].result.config.risk, { stop: 1 });
      assert.equal('a' in ended.rows[2].result.config, false);
      const text = fs.readFileSync(path.join(ended.root, '.longshore/rows'), 'utf8');
      assert.equal(text.match(/"id":9007199254740993\b/g).length, 4);
      for (const row of ended.rows) assert.ok(row.seconds > 0 && !row.timed_out && !row.oom);
      const loads = ended.rows.filter((row) => row.output.includes('loaded')).length;
      assert.ok(isolation === 'shared' ? loads <= 2 : loads === 4, `${loads}`);
    });

    test(`${isolation}: what a config breaks is its own`, async (t) => {
      const source = `
        const state = { poisoned: false };
        exports.main = async (id, { n }) => {
          console.log('config', n);
          require('worker_threads').parentPort?.postMessage({ code: 9 }); // of no interest
          if (n === 1) throw new RangeError('no prices');
          if (n === 2) process.exit(3);
          if (n === 3) process.exit(0);
          if (n === 4) process.kill(process.pid, 'SIGSEGV');
          if (n === 5) for (const all = []; ; ) all.push(new Array(10_000).fill(n));
          if (n === 6) for (;;) ;
          if (n === 7) { state.poisoned = true; process.env.POISON = '1'; Array.prototype.poison = 1; throw new Error('poisoned'); }
          if (n === 8) return 'x'.repeat(2000);
          if (n === 9) { setTimeout(() => { throw new Error('late') }, 5); await new Promise((r) => setTimeout(r, 5000)); }
          if (n === 10) { Promise.reject(new Error('unhandled')); await new Promise((r) => setTimeout(r, 5000)); }
          if (n === 11) console.error('e'.repeat(5000));
          if (n === 12) await new Promise(() => {});
          if (n === 13) { setInterval(() => {}, 10); return { n, poisoned: false }; }
          if (n === 14) process.abort(); // which a worker thread does not have
          if (n === 15) { require('child_process').spawn('sleep', ['60'], { stdio: 'inherit' }); require('child_process').execSync('sleep 60'); }
          return { n, poisoned: state.poisoned || 'POISON' in process.env || 'poison' in [] };
        };`;
      const ended = await sweep(t, source, numbers(19), {
        order: { isolation, timeout_seconds: 3 },
        env: { NODE_HEAP_MB: '80' },
      });
      assert.equal(ended.code, 0, ended.stderr);
      assert.deepEqual(ended.rows.map((row) => row.index), numbers(19).map(({ n }) => n));
      const codes = ended.rows.map((row) => row.exit_code);
      assert.deepEqual(codes, [0, 1, 3, 0, 139, 134, 137, 1, 0, 1, 1, 0, 1, 0, isolation === 'process' ? 134 : 1, 137, 0, 0, 0], JSON.stringify(ended.rows, null, 1));
      assert.deepEqual(ended.rows.filter((row) => row.timed_out).map((row) => row.index), [6, 15]);
      assert.deepEqual(ended.rows.filter((row) => row.heap_mb).map((row) => [row.index, row.heap_mb]), [[5, 40]]);
      for (const [index, said] of [
        [1, 'RangeError: no prices'],
        [2, 'exited with code 3'],
        [9, 'Error: late'],
        [10, 'Error: unhandled'],
        [12, 'main waits for a promise that nothing is left to resolve'],
      ]) {
        assert.deepEqual(ended.rows[index].result, { status: 'error', message: said }, JSON.stringify(ended.rows[index]));
      }
      assert.match(ended.rows[6].output, /config 6\n$/);
      assert.equal(ended.rows[11].output, `${'e'.repeat(99)}\n`);
      assert.deepEqual([ended.rows[8].result, ended.rows[8].result_bytes], [undefined, 2002]);
      for (const index of [0, 11, 13, 16, 17, 18]) assert.equal(ended.rows[index].result.poisoned, false, `${index}`);
    });

    test(`${isolation}: a script that cannot be loaded fails the sweep`, async (t) => {
      for (const [source, said] of [
        ["require('nowhere'); exports.main = () => {}", /Cannot find module 'nowhere'/],
        ['exports.main = () => { ((', /^SyntaxError in .*main\.js, line 1: /],
        ['exports.trade = () => {}', /exports no function main\(id, config\)$/],
        [null, /^there is no script at /],
      ]) {
        const ended = await sweep(t, source, numbers(3), { order: { isolation } });
        assert.equal(ended.code, 1);
        assert.match(ended.result.message, said);
        assert.deepEqual(ended.rows, []);
      }
    });

    test(`${isolation}: an ES module`, async (t) => {
      const ended = await sweep(t, 'const two = await Promise.resolve(2); export const main = async (id, { n }) => n * two;', numbers(3), {
        order: { isolation },
        script: 'main.mjs',
      });
      assert.deepEqual(ended.rows.map((row) => row.result), [0, 2, 4], ended.stderr);
    });
  }

  test('an isolate each, or one for many that is replaced after a failure', async (t) => {
    const source = "let count = 0; exports.main = (id, { n }) => { count += 1; if (n === 2) throw new Error('no'); return count; }";
    const alone = await sweep(t, source, numbers(5), { order: { parallel: 1 } });
    assert.deepEqual(alone.rows.map((row) => row.exit_code ? 'failed' : row.result), [1, 1, 'failed', 1, 1]);
    const shared = await sweep(t, source, numbers(5), { order: { parallel: 1, isolation: 'shared' } });
    assert.deepEqual(shared.rows.map((row) => row.exit_code ? 'failed' : row.result), [1, 2, 'failed', 1, 2]);
  });

  test('the module longshore has the config that the script was loaded for', async (t) => {
    const source = "import { config } from 'longshore'; export const main = (id, { n }) => [n, config.n, config.base];";
    const ended = await sweep(t, source, numbers(2), { script: 'main.mjs', config: { base: 7 } });
    assert.deepEqual(ended.rows.map((row) => row.result), [[0, 0, 7], [1, 1, 7]], ended.stderr);
  });

  test('so many failures end it', async (t) => {
    const ended = await sweep(t, "exports.main = () => { throw new Error('no') }", numbers(9), { order: { parallel: 1, failures_left: 2 } });
    assert.deepEqual([ended.code, ended.rows.length], [0, 2]);
  });

  test('rows beyond their bytes end it', async (t) => {
    const ended = await sweep(t, "exports.main = () => 'x'.repeat(500)", numbers(9), { order: { parallel: 1, max_bytes: 2000 } });
    assert.equal(ended.code, 1);
    assert.equal(ended.result.message, 'the rows take more than SWEEP_MAX_MB: return less, or print less');
    assert.ok(ended.rows.length > 0 && ended.rows.length < 9, `${ended.rows.length}`);
  });

  test('SIGTERM ends it', async (t) => {
    const source = "exports.main = async () => { require('fs').writeFileSync('ready', ''); await new Promise((r) => setTimeout(r, 15000)); }";
    const ended = await sweep(t, source, numbers(9), { signals: 1 });
    assert.deepEqual([ended.code, ended.rows], [143, []]);
  });
});
