// What src/runner/script/launch.mjs promises, tried in a job directory of its own.
//
//   node --test tests/launchers/

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { READY, SUCCESS, TERMINATED, run } from './support.mjs';

const EXAMPLES = path.join(import.meta.dirname, '../../examples');

describe('results', { concurrency: 4 }, () => {
  test('main gets id and config, and its value is the result', async (t) => {
    const ended = await run(
      t,
      "exports.main = async (id, config) => { console.log('hello'); return { id, fast: config.fast, word: 'größe' }; };",
      { config: { fast: 5 } },
    );
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual(ended.result, { id: 'job-1', fast: 5, word: 'größe' });
    assert.equal(ended.stdout, `hello\n${ended.text}\n`);
    assert.deepEqual(ended.leftovers, []);
  });

  test('nothing returned is success', async (t) => {
    for (const nothing of ['', 'return null']) {
      const ended = await run(t, `exports.main = () => { ${nothing} }`);
      assert.deepEqual([ended.code, ended.result], [0, SUCCESS]);
    }
  });

  test('falsy values are values', async (t) => {
    for (const value of ['0', 'false', '""', '[]']) assert.equal((await run(t, `exports.main = () => ${value}`)).text, value);
  });

  test('a scheduled bot speaks of a bot', async (t) => {
    const ended = await run(t, 'exports.main = () => {}', { scheduled: true });
    assert.deepEqual(ended.result, { status: 'success', message: 'Bot executed successfully' });
  });

  test('NaN and infinities become null, typed arrays arrays', async (t) => {
    const ended = await run(
      t,
      'exports.main = () => ({ a: NaN, b: [1.5, { c: -Infinity }], d: Float64Array.of(1, NaN), e: undefined, f: new Date(0) })',
    );
    assert.deepEqual(ended.result, { a: null, b: [1.5, { c: null }], d: [1, null], f: '1970-01-01T00:00:00.000Z' });
  });

  test('what is not JSON is named with its place', async (t) => {
    for (const [value, message, rest] of [
      ['{ trades: [1, { size: new WeakMap() }] }', /: result\.trades\[1\]\.size is of type WeakMap$/, { trades: [1, { size: null }] }],
      ['() => 1', /: result is of type function$/],
      ['{ onBar() {} }', /: result\.onBar is a function$/, {}],
      ['(() => { const a = { pnl: 1 }; a.self = a; return a; })()', /: result\.self contains itself$/, { pnl: 1, self: null }],
      ["{ get price() { throw new Error('gone') } }", /: result cannot be read: Error: gone$/],
    ]) {
      const ended = await run(t, `exports.main = () => (${value})`);
      assert.equal(ended.code, 1, value);
      assert.equal(ended.result.status, 'error');
      assert.match(ended.result.message, message);
      assert.match(ended.result.message, /^the result is not JSON: /);
      assert.deepEqual(ended.result.result, rest);
      assert.equal(ended.lastLine, ended.text);
    }
  });

  test('half a surrogate pair is still UTF-8', async (t) => {
    assert.deepEqual((await run(t, "exports.main = () => ['\\ud800']")).result, ['\ufffd']);
  });

  test('it is the last line, after the exit listeners of the user', async (t) => {
    const ended = await run(t, "process.on('exit', () => console.log('bye')); exports.main = () => 1");
    assert.equal(ended.stdout, 'bye\n1\n');
  });

  test('a large result arrives whole at a slow reader', async (t) => {
    const ended = await run(t, "exports.main = () => new Array(5000).fill('x'.repeat(1000))", {
      onStart: (child) => {
        child.stdout.pause();
        setTimeout(() => child.stdout.resume(), 700);
      },
    });
    assert.equal(ended.result.length, 5000);
    assert.equal(ended.stdout, `${ended.text}\n`);
  });

  test('an open handle does not keep a finished run alive', async (t) => {
    const ended = await run(t, 'exports.main = async () => { setInterval(() => {}, 1000); return 7; }');
    assert.deepEqual([ended.code, ended.text], [0, '7']);
  });

  test("an old result is not taken for this run's", async (t) => {
    const ended = await run(t, "exports.main = () => process.kill(process.pid, 'SIGKILL')", { files: { 'result.json': '{}' } });
    assert.deepEqual([ended.code, ended.text], ['SIGKILL', '']);
  });

  test('a result that cannot be written is a failure', async (t) => {
    const ended = await run(t, "const fs = require('fs'); fs.rmSync('result.json'); fs.mkdirSync('result.json'); exports.main = () => 1");
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /cannot write .*result\.json/);
  });

  test("a cluster's workers write none", async (t) => {
    const ended = await run(
      t,
      `const cluster = require('cluster');
       exports.main = async () => {
         if (!cluster.isPrimary) { process.disconnect(); return 'worker'; }
         const [code] = await require('events').once(cluster.fork(), 'exit');
         return [code, require('fs').statSync('result.json').size];
       };`,
    );
    assert.deepEqual(ended.result, [0, 0], ended.stderr);
    assert.equal(ended.stdout, '[0,0]\n');
  });
});

describe('ways to export main', { concurrency: 4 }, () => {
  const cases = {
    'exports.main': ['main.js', 'exports.main = () => 7'],
    'exports.default': ['main.js', 'exports.default = () => 7'],
    'module.exports': ['main.js', 'module.exports = () => 7'],
    'module.exports with a main of its own': ['main.js', 'module.exports = () => 1; module.exports.main = () => 7'],
    'module.exports = { main }, computed': ['main.js', "module.exports = Object.fromEntries([['main', () => 7]])"],
    'what a compiler made of an ES module': ['main.js', "Object.defineProperty(exports, '__esModule', { value: true }); exports.default = () => 7"],
    '.cjs': ['main.cjs', 'module.exports = { main: () => 7 }'],
    '.mjs, export main': ['main.mjs', 'export async function main() { return 7; }'],
    '.mjs, export default': ['main.mjs', 'export default () => 7'],
    'main before default': ['main.mjs', 'export default () => 1; export const main = () => 7;'],
    'top-level await': ['main.mjs', 'const seven = await Promise.resolve(7); export const main = () => seven;'],
  };
  for (const [name, [script, source]] of Object.entries(cases)) {
    test(name, async (t) => {
      const ended = await run(t, source, { script });
      assert.deepEqual([ended.code, ended.text], [0, '7'], ended.stderr);
    });
  }

  test('a package of type module', async (t) => {
    const files = { 'package.json': '{"type":"module"}', 'lib/near.js': 'export const seven = 7;' };
    const source = "import { seven } from './near.js'; export const main = () => seven;";
    assert.equal((await run(t, source, { files, script: 'lib/main.js' })).text, '7');
    assert.equal((await run(t, 'module.exports = () => 7', { files, script: 'main.cjs' })).text, '7');
  });
});

describe('failures', { concurrency: 4 }, () => {
  for (const [name, body] of Object.entries({
    'an exception': "throw new RangeError('no prices')",
    'a rejection': "return Promise.reject(new RangeError('no prices'))",
    'an unhandled rejection': "Promise.reject(new RangeError('no prices')); return new Promise((r) => setTimeout(r, 9000))",
    'an uncaught exception': "setTimeout(() => { throw new RangeError('no prices') }, 10); return new Promise((r) => setTimeout(r, 9000))",
  })) {
    test(name, async (t) => {
      const ended = await run(t, `exports.main = function trade() { ${body} }`);
      assert.equal(ended.code, 1);
      assert.deepEqual(ended.result, { status: 'error', message: 'RangeError: no prices' });
      assert.match(ended.stderr, /RangeError: no prices\n +at .*main\.js/);
      assert.equal(ended.lastLine, ended.text);
    });
  }

  test('what was thrown need not be an Error', async (t) => {
    const ended = await run(t, "exports.main = () => { throw 'enough' }");
    assert.deepEqual([ended.code, ended.result.message], [1, "'enough'"]);
    assert.match(ended.stderr, /enough/);
  });

  test("the user's own listener for uncaught exceptions decides", async (t) => {
    const ended = await run(
      t,
      "process.on('uncaughtException', () => {}); exports.main = async () => { setTimeout(() => { throw 1 }, 5); await new Promise((r) => setTimeout(r, 50)); return 7; }",
    );
    assert.deepEqual([ended.code, ended.text], [0, '7']);
  });

  test('but a main that throws has failed whoever listens', async (t) => {
    const ended = await run(t, "process.on('uncaughtException', () => {}); exports.main = () => { throw new Error('no') }");
    assert.deepEqual([ended.code, ended.result.message], [1, 'Error: no']);
  });

  test('process.exit keeps its code', async (t) => {
    const ended = await run(t, 'exports.main = () => process.exit(3)');
    assert.deepEqual([ended.code, ended.result], [3, { status: 'error', message: 'exited with code 3' }]);
    assert.equal(ended.lastLine, ended.text);
  });

  test('process.exit(0) is success with nothing returned', async (t) => {
    for (const code of ['0', '']) {
      const ended = await run(t, `exports.main = () => process.exit(${code})`);
      assert.deepEqual([ended.code, ended.result], [0, SUCCESS]);
    }
  });

  test('process.exitCode counts like process.exit', async (t) => {
    const ended = await run(t, 'exports.main = () => { process.exitCode = 3 }');
    assert.deepEqual([ended.code, ended.result.message], [3, 'exited with code 3']);
  });

  test('a missing script', async (t) => {
    const ended = await run(t, null);
    assert.equal(ended.code, 1);
    assert.deepEqual(ended.result, { status: 'error', message: `there is no script at ${ended.root}/main.js` });
    assert.equal(ended.stderr, `there is no script at ${ended.root}/main.js\n`);
  });

  test('no callable main', async (t) => {
    const ended = await run(t, 'exports.trade = () => {}');
    assert.deepEqual([ended.code, ended.result.message], [1, `${ended.root}/main.js exports no function main(id, config)`]);
  });

  test('a syntax error', async (t) => {
    for (const [script, place] of [['main.js', ', line 2'], ['main.mjs', ' or what it imports']]) {
      const ended = await run(t, 'const a = 1;\nconst b = = 2;\nexport const main = 1;', { script });
      assert.equal(ended.code, 1);
      assert.equal(ended.result.message, `SyntaxError in ${ended.root}/${script}${place}: Unexpected token '='`);
      assert.match(ended.stderr, new RegExp(`${script}:2\\nconst b = = 2`));
    }
  });

  test('a module that is not there', async (t) => {
    const ended = await run(t, "require('nowhere'); exports.main = () => {}");
    assert.equal(ended.code, 1);
    assert.match(ended.result.message, /Cannot find module 'nowhere'/);
  });

  test('a main that nothing can wake up', async (t) => {
    const ended = await run(t, 'exports.main = () => new Promise(() => {})');
    assert.deepEqual([ended.code, ended.result.status], [1, 'error']);
    assert.match(ended.result.message, /nothing is left to resolve/);
  });
});

describe('surroundings', { concurrency: 4 }, () => {
  test('work directory, neighbours, node_modules', async (t) => {
    const ended = await run(
      t,
      "const lib = require('lib'); const near = require('./near'); exports.main = () => [process.cwd(), lib, near, require.main === module]",
      { script: 'strategies/main.js', files: { 'node_modules/lib/index.js': 'module.exports = 1', 'strategies/near.js': 'module.exports = 2' } },
    );
    assert.deepEqual(ended.result, [ended.root, 1, 2, false]);
  });

  test('a config of a megabyte with every awkward character', async (t) => {
    const config = { text: 'it\'s "$(x)" `y` \\ \n ü \u2028', big: 'x'.repeat(1_000_000) };
    const ended = await run(t, 'exports.main = (id, config) => [config.text, config.big.length]', { config });
    assert.deepEqual(ended.result, [config.text, 1_000_000]);
  });
});

describe('SIGTERM', { concurrency: 4 }, () => {
  const wait = 'await new Promise((r) => setTimeout(r, 15000));';

  test('ends a run that has no listener', async (t) => {
    const ended = await run(t, `exports.main = async () => { console.log('hello'); ${READY} ${wait} }`, { signals: 1 });
    assert.deepEqual([ended.code, ended.result], [143, TERMINATED]);
    assert.equal(ended.stdout, `hello\n${ended.text}\n`);
  });

  test('ends it while it is loaded', async (t) => {
    const source = `import fs from 'node:fs'; fs.writeFileSync('ready', ''); ${wait} export const main = 1;`;
    const ended = await run(t, source, { script: 'main.mjs', signals: 1 });
    assert.deepEqual([ended.code, ended.result], [143, TERMINATED]);
  });

  test("is left to the user's listener, whose run may finish", async (t) => {
    const ended = await run(
      t,
      `exports.main = async () => {
         const stop = new Promise((resolve) => process.once('SIGTERM', resolve));
         const alive = setInterval(() => {}, 1000);
         ${READY}
         await stop;
         clearInterval(alive);
         return { stopped: true };
       }`,
      { signals: 1 },
    );
    assert.deepEqual([ended.code, ended.result], [0, { stopped: true }]);
  });

  test("ends at once when it comes again after the user's once()", async (t) => {
    const ended = await run(
      t,
      `process.once('SIGTERM', () => require('fs').writeFileSync('again', '')); exports.main = async () => { ${READY} ${wait} }`,
      { signals: 2 },
    );
    assert.deepEqual([ended.code, ended.result], [143, TERMINATED]);
  });
});

describe('bots', { concurrency: 4 }, () => {
  test('returning ends one, without a result', async (t) => {
    const ended = await run(t, "exports.main = () => { console.log('done'); return 1; }", { bot: true });
    assert.deepEqual([ended.code, ended.text, ended.stdout, ended.stderr], [0, null, 'done\n', '']);
  });

  test('timers keep one alive after main has returned', async (t) => {
    const ended = await run(t, "exports.main = () => { setTimeout(() => console.log('tick'), 100) }", { bot: true });
    assert.deepEqual([ended.code, ended.stdout], [0, 'tick\n']);
  });

  test('an exception, early or late', async (t) => {
    for (const body of ["throw new Error('lost')", "setTimeout(() => { throw new Error('lost') }, 50)"]) {
      const ended = await run(t, `exports.main = () => { ${body} }`, { bot: true });
      assert.deepEqual([ended.code, ended.text, ended.stdout], [1, null, '']);
      assert.match(ended.stderr, /Error: lost\n +at /);
    }
  });

  test('process.exit keeps its code', async (t) => {
    assert.equal((await run(t, 'exports.main = () => process.exit(3)', { bot: true })).code, 3);
  });

  test('SIGTERM, with and without a listener', async (t) => {
    const alive = `setInterval(() => {}, 1000); ${READY}`;
    const without = await run(t, `exports.main = () => { ${alive} }`, { bot: true, signals: 1 });
    assert.deepEqual([without.code, without.text, without.stdout], [143, null, '']);
    const bye = "process.once('SIGTERM', () => { console.log('bye'); process.exit(0); });";
    const own = await run(t, `exports.main = () => { ${bye} ${alive} }`, { bot: true, signals: 1 });
    assert.deepEqual([own.code, own.stdout], [0, 'bye\n']);
  });

  test('its own files are left alone', async (t) => {
    assert.equal((await run(t, 'exports.main = () => {}', { bot: true, files: { 'result.json': '{}' } })).text, '{}');
  });
});

describe('examples', () => {
  const read = (name) => {
    const folder = path.join(EXAMPLES, name);
    const names = fs.readdirSync(folder, { withFileTypes: true }).filter((it) => it.isFile());
    return {
      start: JSON.parse(fs.readFileSync(path.join(folder, 'start.json'))),
      files: Object.fromEntries(names.map((it) => [it.name, fs.readFileSync(path.join(folder, it.name), 'utf8')])),
    };
  };

  test('the backtest', async (t) => {
    const { start, files } = read('mean-reversion-js');
    const ended = await run(t, null, { script: start.entrypoint_files.backtest, config: start.config, files });
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual([ended.result.trades, ended.result.final_equity], [13, 11243.38]);
  });

  test('the bot beats and says goodbye', async (t) => {
    const { start, files } = read('heartbeat-bot-js');
    const ended = await run(t, null, {
      script: start.entrypoint_files.bot,
      config: { interval_seconds: 0.01 },
      files,
      bot: true,
      onStart: (child) => child.stdout.on('data', (data) => String(data).includes('beat 3') && child.kill('SIGTERM')),
    });
    assert.deepEqual([ended.code, ended.text, ended.stderr], [0, null, '']);
    assert.match(ended.stdout, /job-1: goodbye after \d+ beats\n$/);
  });
});
