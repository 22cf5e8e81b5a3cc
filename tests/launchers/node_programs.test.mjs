// Programs as their authors wrote them for a plain Node.js: what works there works under the launcher.
//
//   node --test tests/launchers/

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { READY, TERMINATED, run } from './support.mjs';

const config = { fast: 5 };

describe('what main gets', { concurrency: 4 }, () => {
  for (const [source, expected] of [
    ['exports.main = function () { return arguments.length }', 2],
    ['exports.main = (config) => config', config],
    ['exports.main = ({ fast }) => fast', 5],
    ['exports.main = async cfg => cfg', config],
    ['exports.main = (botId) => botId', 'job-1'],
    ['exports.main = (id, config = {}) => [id, config]', ['job-1', config]],
    ['exports.main = (config, id) => [config, id]', [config, 'job-1']],
    ['exports.main = (job, { fast } = {}, more) => [job, fast, more]', ['job-1', 5, null]],
    ['exports.main = (...all) => all', ['job-1', config]],
    ['exports.main = (/* id, */ config /* of the message */) => config', config],
    ['class Bot { async main(config) { return config } }\nconst bot = new Bot(); exports.main = bot.main', config],
    ['exports.main = ((id, config) => [id, config]).bind(null)', ['job-1', config]],
    ['exports.main = (a = { b: [1, (2, 3)] }, config) => config', config],
  ]) {
    test(source, async (t) => {
      const ended = await run(t, source, { config });
      assert.deepEqual([ended.code, ended.result], [0, expected], ended.stderr);
    });
  }

  test('integers beyond 2^53 are BigInts, digit for digit and in order', async (t) => {
    const text = '{"zeta": 1, "wei":123456789012345678901 ,"low":-9007199254740993, "list":[9007199254740991,1e21,0.12345678901234567890], "text":"\\"12345678901234567890\\\\", "k\\"\\\\":1}';
    const ended = await run(
      t,
      `exports.main = (id, config) => {
         const { wei, low, list, text } = config;
         return { types: [wei, low, list[0], list[1]].map((it) => typeof it), wei, low, list, text, keys: Object.keys(config) };
       }`,
      { configText: text },
    );
    const list = '[9007199254740991,1e+21,0.12345678901234568]';
    const types = '["bigint","bigint","number","number"]';
    const keys = '["zeta","wei","low","list","text","k\\"\\\\"]';
    assert.equal(
      ended.text,
      `{"types":${types},"wei":123456789012345678901,"low":-9007199254740993,"list":${list},"text":"\\"12345678901234567890\\\\","keys":${keys}}`,
      ended.stderr,
    );
  });
});

describe('values', { concurrency: 4 }, () => {
  for (const [value, expected] of [
    ['{ at: new Date(0), never: new Date(NaN) }', { at: '1970-01-01T00:00:00.000Z', never: null }],
    ["new Map([['a', 1], [2, new Set([3])], [new Date(0), 4], [[5], 6]])", { a: 1, 2: [3], '1970-01-01T00:00:00.000Z': 4, '[5]': 6 }],
    ['[BigInt64Array.of(1n), Uint8Array.of(2), new Uint8Array([3]).buffer]', [[1], [2], [3]]],
    ["[new RangeError('no prices'), new Error('a', { cause: new Error('b') })]", ['RangeError: no prices', 'Error: a (caused by Error: b)']],
    ["{ a: Promise.resolve({ b: Promise.resolve(1) }), c: [Promise.resolve(2)], d: new Map([['e', Promise.resolve(3)]]) }", { a: { b: 1 }, c: [2], d: { e: 3 } }],
    ['[/a+/g, new Number(1), new URL("http://a/b"), new URLSearchParams("a=1")]', ['/a+/g', 1, 'http://a/b', [['a', '1']]]],
    ['[1, 2].values()', [1, 2]],
    ["JSON.parse('{\"__proto__\": 1}')", JSON.parse('{"__proto__": 1}')],
    ['(() => { const a = [1]; return { a, b: a }; })()', { a: [1], b: [1] }],
    ['[undefined, , null]', [null, null, null]],
  ]) {
    test(value, async (t) => {
      const ended = await run(t, `exports.main = () => (${value})`);
      assert.deepEqual([ended.code, ended.result], [0, expected], ended.stderr);
    });
  }

  test('a BigInt is written as its digits', async (t) => {
    assert.equal((await run(t, 'exports.main = () => ({ wei: 10n ** 40n, by: new Map([[5n, -1n]]) })')).text, `{"wei":1${'0'.repeat(40)},"by":{"5":-1}}`);
  });

  test('what keeps what it holds to itself is named', async (t) => {
    for (const [value, kind] of [
      ["await fetch('data:,x')", 'Response'],
      ["new Blob(['a'])", 'Blob'],
      ['(async function* () {})()', 'AsyncGenerator'],
      ['new (class { get [Symbol.toStringTag]() { return "Trades"; } })()', 'Trades'],
    ]) {
      const ended = await run(t, `exports.main = async () => ({ pnl: 1, x: ${value} })`);
      assert.deepEqual([ended.code, ended.result.message], [1, `the result is not JSON: result.x is of type ${kind}`], ended.stderr);
      assert.deepEqual(ended.result.result, { pnl: 1, x: null });
    }
    const ended = await run(t, 'exports.main = () => [new DOMException("no prices", "AbortError"), {}, Object.create(null), new (class A {})()]');
    assert.deepEqual(ended.result, ['AbortError: no prices', {}, {}, {}], ended.stderr);
  });

  test('a method is left out, as JSON does it, and that is said', async (t) => {
    const ended = await run(t, 'exports.main = () => ({ pnl: 1, onBar() {} })');
    assert.deepEqual([ended.code, ended.result, ended.stderr], [0, { pnl: 1 }, 'longshore: left out of the result: result.onBar is a function\n']);
  });

  test('a value is kept where a listener for exits ends the process itself', async (t) => {
    const ended = await run(t, "process.on('exit', () => process.exit()); exports.main = () => ({ pnl: 1 });");
    assert.deepEqual([ended.code, ended.result, ended.lastLine], [0, { pnl: 1 }, '{"pnl":1}'], ended.stderr);
  });

  test('a generator is run to its end', async (t) => {
    for (const [source, expected] of [
      ['exports.main = function* () { yield 1; yield 2; }', [1, 2]],
      ['exports.main = function* () { yield 1; return { pnl: 2 }; }', { pnl: 2 }],
      ['exports.main = async function* () { yield 1; yield 2; }', [1, 2]],
    ]) {
      assert.deepEqual((await run(t, source)).result, expected);
    }
  });

  test('a returned error is a failure', async (t) => {
    const ended = await run(t, "exports.main = async () => new Error('no prices')");
    assert.deepEqual([ended.code, ended.result.message], [1, 'Error: no prices']);
  });

  test('a nested promise that is rejected is a failure', async (t) => {
    const ended = await run(t, "exports.main = async () => ({ a: Promise.reject(new Error('no prices')) })");
    assert.deepEqual([ended.code, ended.result.message], [1, 'Error: no prices']);
  });
});

describe('a result of its own', { concurrency: 4 }, () => {
  const own = { status: 'success', message: '12 trades', data: { pnl: 3.5 } };

  test('that the program wrote is kept', async (t) => {
    const text = JSON.stringify(own, null, 2);
    for (const file of ["'result.json'", "__dirname + '/result.json'"]) {
      const ended = await run(t, `exports.main = () => require('fs').writeFileSync(${file}, ${JSON.stringify(text)})`);
      assert.deepEqual([ended.code, ended.text], [0, text], ended.stderr);
      assert.deepEqual(JSON.parse(ended.lastLine), own);
    }
  });

  test('may begin with a byte order mark', async (t) => {
    const ended = await run(t, "exports.main = () => require('fs').writeFileSync('result.json', '\\ufeff[1]')");
    assert.deepEqual([ended.code, ended.lastLine], [0, '[1]'], ended.stderr);
  });

  test('may be written by a listener for exits', async (t) => {
    const ended = await run(t, "process.on('exit', () => require('fs').writeFileSync('result.json', '[1]')); exports.main = () => {};");
    assert.deepEqual([ended.code, ended.lastLine], [0, '[1]'], ended.stderr);
  });

  test('gives way to a returned value', async (t) => {
    assert.equal((await run(t, "exports.main = () => { require('fs').writeFileSync('result.json', '[1]'); return 2; }")).text, '2');
  });

  test('that says error is kept when it exits', async (t) => {
    const error = { status: 'error', message: 'no such market' };
    const ended = await run(t, `exports.main = () => { require('fs').writeFileSync('result.json', '${JSON.stringify(error)}'); process.exit(2); }`);
    assert.deepEqual([ended.code, ended.result], [2, error]);
  });

  test('that is no JSON is said', async (t) => {
    const ended = await run(t, "exports.main = () => require('fs').writeFileSync('result.json', '{12')");
    assert.equal(ended.code, 1);
    assert.match(ended.result.message, /^the result\.json that the program wrote is not valid JSON: /);
  });

  test('needs no main', async (t) => {
    const ended = await run(t, "setTimeout(() => require('fs').writeFileSync('result.json', '[1]'), 20)");
    assert.deepEqual([ended.code, ended.text], [0, '[1]'], ended.stderr);
    const none = await run(t, "// no result.json");
    assert.equal(none.code, 1);
    assert.match(none.result.message, /exports no function main\(id, config\), and wrote no result\.json$/);
  });
});

describe('reasons', { concurrency: 4 }, () => {
  test('a script that exports nothing is told before it runs', async (t) => {
    const ended = await run(t, "require('fs').writeFileSync('ran', '')");
    assert.equal(ended.result.message, `${ended.root}/main.js exports no function main(id, config)`);
    assert.equal(fs.existsSync(path.join(ended.root, 'ran')), false);
  });

  for (const [thrown, message] of [
    ["new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })", 'TypeError: fetch failed (caused by Error: connect ECONNREFUSED)'],
    ["new AggregateError([new Error('first'), new Error('second')], 'All promises were rejected')", 'AggregateError: All promises were rejected (caused by Error: first)'],
    ["new TypeError('fetch failed', { cause: new AggregateError([new Error('connect ECONNREFUSED ::1:1')]) })", 'TypeError: fetch failed (caused by Error: connect ECONNREFUSED ::1:1)'],
    ["new Error('a', { cause: 'b' })", "Error: a (caused by 'b')"],
  ]) {
    test(message, async (t) => {
      assert.equal((await run(t, `exports.main = async () => { throw ${thrown} }`)).result.message, message);
    });
  }

  test('an error of a read-only place says where one may write', async (t) => {
    for (const [code, file, advice] of [
      ['EROFS', 'bot.log', /\(write to \/tmp instead: .* BOT_READ_ONLY_CODE is false\)$/],
      ['EACCES', '/usr/lib/x', /BOT_READ_ONLY_ROOT is false\)$/],
      ['ENOSPC', '/tmp/a', /BOT_TMP_MB\)$/],
      ['EMFILE', 'a', /BOT_OPEN_FILES_LIMIT\)$/],
    ]) {
      const ended = await run(t, `exports.main = () => { throw Object.assign(new Error('no'), { code: '${code}', path: '${file}' }) }`);
      assert.match(ended.result.message, advice);
      assert.match(ended.stderr, /^longshore: /m);
    }
  });
});

describe('children', { concurrency: 4 }, () => {
  test('find node_modules as those of a plain script do', async (t) => {
    const ended = await run(
      t,
      `const { execFileSync, fork } = require('child_process'); const { Worker } = require('worker_threads'); const { once } = require('events');
       exports.main = async () => {
         const plain = (...words) => String(execFileSync(process.execPath, words)).trim();
         const [fromWorker] = await once(new Worker("require('worker_threads').parentPort.postMessage(require('lib'))", { eval: true }), 'message');
         const [fromFork] = await once(fork('./lib/helper.js', [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }), 'message');
         return [plain('-p', "require('lib')"), plain('lib/helper.js'), fromWorker, fromFork];
       };`,
      { files: { 'node_modules/lib/index.js': 'module.exports = 1', 'lib/helper.js': "console.log(require('lib')); process.send?.(require('lib'));" } },
    );
    assert.deepEqual(ended.result, ['1', '1', 1, 1], ended.stderr);
  });
});

describe('stops', { concurrency: 2 }, () => {
  const wait = 'await new Promise((r) => setTimeout(r, 60000));';

  for (const [name, body] of Object.entries({
    'timers and servers': "setInterval(() => {}, 1000); require('http').createServer().listen(0);",
    'worker threads': "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true });",
    'child processes': "require('child_process').spawn('sleep', ['60'], { stdio: 'ignore' });",
    'worker threads that compute': "new (require('worker_threads').Worker)('for (;;);', { eval: true });",
    'a process whose output is read': "require('child_process').spawn('sleep', ['60']).stdout.on('data', () => {});",
    'work outside of the event loop': "require('crypto').pbkdf2('a', 'b', 1e8, 64, 'sha512', () => {});",
    'an exit in a listener for exits': "process.on('exit', () => process.exit());",
    'an empty catch': 'for (;;) { try { await new Promise((r) => setTimeout(r, 50)); } catch {} if (Date.now() < 0) break; }',
    "a library that listens, and ends the process itself where nobody else does": `
      const listener = () => { if (process.listeners('SIGTERM').length === 1) { process.removeListener('SIGTERM', listener); process.kill(process.pid, 'SIGTERM'); } };
      process.on('SIGTERM', listener);`,
  })) {
    test(name, async (t) => {
      const ended = await run(t, `exports.main = async () => { console.log('begun'); ${READY} ${body} ${wait} }`, { signals: 1 });
      assert.deepEqual([ended.code, ended.result], [143, TERMINATED], ended.stderr);
      assert.equal(ended.stdout, `begun\n${ended.text}\n`);
    });
  }

  test('a listener of its own takes its time', async (t) => {
    const ended = await run(
      t,
      `exports.main = () => new Promise((resolve) => {
         process.on('SIGTERM', () => setTimeout(resolve, 2500, 'closed all positions'));
         setInterval(() => {}, 1000);
         ${READY}
       });`,
      { signals: 1 },
    );
    assert.deepEqual([ended.code, ended.result], [0, 'closed all positions']);
  });

  test('a listener that was taken away again leaves the signal to us', async (t) => {
    const ended = await run(t, `exports.main = async () => { const it = () => {}; process.on('SIGTERM', it); process.off('SIGTERM', it); ${READY} ${wait} }`, { signals: 1 });
    assert.deepEqual([ended.code, ended.result], [143, TERMINATED]);
  });
});
