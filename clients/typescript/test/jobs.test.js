// The client against a real worker.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AlreadyActive, Client, NotEnded, Refused, RunFailed, SettingsError, Unavailable, UnknownJob, WaitTimeout } from 'longshore';
import { directory, namespace, newId, PATIENCE, proxy, withClient } from './shared.js';

const timeout = PATIENCE;
const all = async (items) => {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
};

test('one call from a directory to what the code returned', withClient(async (client) => {
  const code = directory('exports.main = (id, config) => ({ sum: config.a + config.b, name: "é" });');
  const result = await client.run(code, { a: 1, b: 2 }, { id: newId('sum'), timeout });
  assert.deepEqual(result.value, { sum: 3, name: 'é' });
  assert.equal(result.verdict, 'succeeded');
  const again = await client.result(result.id);
  assert.deepEqual([again.value, again.event.id], [result.value, result.event.id]);
}));

test('a start.json gives what the call leaves out', withClient(async (client) => {
  const code = directory('def main(id, config): return [id, config]', 'main.py');
  writeFileSync(join(code, 'start.json'), JSON.stringify({ id: 'x', config: { fast: 5 }, file_path: 'old.zip' }));
  const id = newId('file');
  assert.deepEqual((await client.run(code, undefined, { id, timeout })).value, [id, { fast: 5 }]);
}));

test('code that fails is an error that says why', withClient(async (client) => {
  const code = directory('exports.main = () => { throw new Error("no prices for BTC"); };');
  const failed = (error) => error instanceof RunFailed && /failed: .*no prices for BTC/.test(error.message);
  await assert.rejects(client.run(code, {}, { id: newId('bad'), timeout }), failed);
  const result = await client.run(code, {}, { id: newId('bad'), timeout, check: false });
  assert.equal(result.ok, false);
  assert.equal(result.value.status, 'error');
}));

test('a message that the worker refuses is an error that says why', withClient(async (client) => {
  const code = directory('exports.main = () => {};');
  for (const wrong of [{ limits: { memory_mb: 99_999 } }, { id: 'not an id!' }, { surprise: 1 }]) {
    const rejected = (error) => error instanceof RunFailed && error.result.verdict === 'rejected';
    await assert.rejects(client.run(code, {}, { id: newId('refused'), timeout, ...wrong }), rejected);
  }
}));

test('a result that is too large for an event is fetched', withClient(async (client) => {
  const code = directory('exports.main = () => "x".repeat(600_000);');
  const result = await client.run(code, {}, { id: newId('large'), timeout });
  assert.equal(result.data.result, undefined);
  assert.equal(result.value, 'x'.repeat(600_000));
}));

test('a bot is followed and stopped and leaves its log', withClient(async (client) => {
  const code = directory('exports.main = () => { console.log("up"); setInterval(() => {}, 1000); };', 'bot.js');
  const job = await client.submit(code, {}, { id: newId('bot'), entrypoint: 'bot' });
  for await (const event of job.events()) if (event.data.state === 'running') break;
  await assert.rejects(client.result(job.id), NotEnded);
  await assert.rejects(job.result(0.1), WaitTimeout);
  const second = await client.submit(code, {}, { id: job.id, entrypoint: 'bot' });
  await assert.rejects(second.result(timeout), (error) => error instanceof AlreadyActive && error.message.includes(job.runId));
  while ((await all(job.logs())).length === 0) await sleep(200);
  await job.stop({ reason: 'enough', timeout_seconds: 5 });
  const result = await job.result(timeout);
  assert.equal(result.verdict, 'stopped');
  assert.match(result.message, /enough/);
  assert.deepEqual((await all(job.logs())).map(({ stream, text }) => [stream, text]), [['stdout', 'up']]);
  assert.equal((await client.result(job.id, job.runId)).verdict, 'stopped');
}));

test('an unknown job has no result', withClient(async (client) => {
  await assert.rejects(client.result(newId('unknown')), UnknownJob);
  await assert.rejects(client.result(newId('unknown'), 'run'), UnknownJob);
  assert.deepEqual(await all(client.logs(newId('unknown'))), []);
}));

test('lines come in order, each once', withClient(async (client) => {
  const code = directory(`exports.main = async () => {
    for (let n = 0; n < 300; n++) { console.log(n); await new Promise((then) => setTimeout(then, 10)); }
  };`);
  const job = await client.submit(code, {}, { id: newId('lines') });
  const numbers = async () => (await all(job.logs())).map(({ text }) => text).filter((text) => /^\d+$/.test(text));
  let seen = 0;
  while (await job.result(0.5).then(() => false, () => true)) {
    const lines = await numbers();
    assert.deepEqual(lines, lines.map((_, n) => String(n)));
    assert.ok(lines.length >= seen);
    seen = lines.length;
  }
  assert.deepEqual(await numbers(), Array.from({ length: 300 }, (_, n) => String(n)));
}));

test('a result that came while the connection was lost is not missed', async () => {
  const cut = await proxy();
  const [client, steady] = [new Client({ amqpUrl: cut.amqpUrl }), new Client()];
  try {
    const job = await client.submit(directory('exports.main = () => 7;'), {}, { id: newId('cut') });
    cut.isOpen = false;
    cut.cut();
    while (await steady.result(job.id).then(() => false, () => true)) await sleep(100); // it ends while nobody listens
    cut.isOpen = true;
    assert.equal((await job.result(timeout)).value, 7);
    assert.ok(cut.connections >= 2);
    cut.cut(); // and once more, on the new connection
    const again = await client.run(directory('exports.main = () => 8;'), {}, { id: newId('cut'), timeout });
    assert.equal(again.value, 8);
  } finally {
    await Promise.all([client.close(), steady.close()]);
    cut.close();
  }
});

test('a durable queue loses no event', async () => {
  const cut = await proxy();
  const [client, steady] = [new Client({ amqpUrl: cut.amqpUrl }), new Client()];
  const ids = [1, 2, 3].map(() => newId('queue'));
  const found = [];
  const listen = async () => {
    const queue = `${namespace}.ts-${Date.now()}`;
    for await (const event of client.events({ results: 'succeeded.#', queue })) {
      if (ids.includes(event.data.id)) found.push(event.data.id);
      if (event.data.id === ids.at(-1)) return;
    }
  };
  try {
    const listening = listen();
    await sleep(1000);
    const code = directory('exports.main = () => 1;');
    for (const id of ids) {
      await steady.run(code, {}, { id, timeout });
      cut.cut();
    }
    await listening;
    assert.deepEqual(found, ids);
  } finally {
    await Promise.all([client.close(), steady.close()]);
    cut.close();
  }
});

test('refusals, a broker that is away and missing settings are said', async () => {
  const url = new URL(process.env.AMQP_URL);
  url.password = 'wrong';
  for (const [settings, kind] of [
    [{ amqpUrl: url.href }, Refused],
    [{ namespace: 'no-worker-was-here' }, Refused],
    [{ amqpUrl: 'amqp://u:p@127.0.0.1:1/', patienceSeconds: 0.5 }, Unavailable],
    [{ amqpUrl: '' }, SettingsError],
  ]) {
    await withClient((client) => assert.rejects(client.stop('x'), kind), settings)();
  }
});

test('the first node that answers is taken', withClient(
  (client) => client.stop(`${namespace}-nothing`),
  { amqpUrl: `amqp://u:p@127.0.0.1:1/,${process.env.AMQP_URL}` },
));
