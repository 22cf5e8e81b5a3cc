// Data sets, artifacts and series against a real worker.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataError, NotStored, Result, settingsFromEnvironment } from 'longshore';
import { directory, namespace, newId, PATIENCE, withClient } from './shared.js';

const timeout = PATIENCE;
const place = () => mkdtempSync(join(tmpdir(), 'longshore-'));
const newKey = () => `${newId('data').replace(namespace, `${namespace}/`)}/prices.csv`;

function prices() {
  const file = join(place(), 'prices.csv');
  writeFileSync(file, '1.5\n2.5\n4\n');
  return file;
}

const PROGRAM = `
const { readFileSync, writeFileSync } = require('node:fs');
const longshore = require('longshore');

exports.main = () => {
  const rows = readFileSync('data/prices.csv', 'utf8').trim().split('\\n').map(Number);
  rows.forEach((row, number) => longshore.metric('price', row, number));
  longshore.metric('rows', rows.length);
  for (const name of ['total.txt', 'deep/er/copy.bin']) {
    writeFileSync(longshore.artifact(name), String(rows.reduce((a, b) => a + b)));
  }
  return rows.length;
};
`;

test('a data set goes in, and files and series come out', withClient(async (client) => {
  const data = await client.putData(prices(), { key: newKey() });
  assert.equal(data.path, 'data/prices.csv');
  assert.equal(data.sha256.length, 64);
  const result = await client.run(directory(PROGRAM), {}, { id: newId('data'), inputs: [data], artifacts: {}, timeout });
  assert.equal(result.value, 3);
  assert.deepEqual(result.artifacts.map(({ path }) => path), ['deep/er/copy.bin', 'total.txt']);
  assert.equal(new TextDecoder().decode(await client.artifact(result, 'total.txt')), '8');
  const to = join(place(), 'out');
  const saved = await client.artifacts(result, to);
  assert.deepEqual(saved, [join(to, 'deep/er/copy.bin'), join(to, 'total.txt')]);
  assert.deepEqual(saved.map((file) => readFileSync(file, 'utf8')), ['8', '8']);
  const series = await client.series(result);
  assert.deepEqual(series.get('price').map(({ n, value, at }) => [n, value, at]), [[0, 1.5, 0], [1, 2.5, 1], [2, 4, 2]]);
  assert.deepEqual(series.get('rows').map(({ attempt, value, at }) => [attempt, value, at]), [[1, 3, undefined]]);
  // Another program finds them by the journal.
  assert.deepEqual(await client.series(await client.result(result.id)), series);
}));

test('a data set is stored again, and others take its place', withClient(async (client) => {
  const [file, key] = [prices(), newKey()];
  const first = await client.putData(file, { key });
  assert.deepEqual(await client.putData(file, { key, path: 'p.csv' }), { ...first, path: 'p.csv' });
  writeFileSync(file, '1.5\n2.5\n5\n');
  assert.notEqual((await client.putData(file, { key })).sha256, first.sha256);
}));

test('a data set that cannot be stored is an error that says why', withClient(async (client) => {
  const unread = (error) => error instanceof DataError && /gone.csv cannot be read/.test(error.message);
  await assert.rejects(client.putData('/tmp/no-such/gone.csv'), unread);
  for (const key of ['', 'prices/', 'a\\b']) {
    const noKey = (error) => error instanceof DataError && /ends in a slash, has a backslash, or is empty/.test(error.message);
    await assert.rejects(client.putData(prices(), { key }), noKey);
  }
}));

test('artifacts that are not there are errors that say why', withClient(async (client) => {
  const data = await client.putData(prices(), { key: newKey() });
  const result = await client.run(directory(PROGRAM), {}, { id: newId('gone'), inputs: [data], artifacts: {}, timeout });
  const says = (said) => (error) => error instanceof NotStored && error.message.includes(said);
  await assert.rejects(client.artifact(result, 'equity.png'), says('has no artifact equity.png'));
  const changed = (fields) => {
    const artifacts = [{ ...result.artifacts[0], ...fields }];
    return new Result({ ...result.event, data: { ...result.data, objects: { artifacts } } });
  };
  const to = place();
  for (const [wrong, said] of [
    [{ key: 'no/such/key' }, 'no longer in the store'],
    [{ sha256: '0'.repeat(64) }, 'is not what the run stored'],
    [{ path: '../up.txt' }, 'outside the directory'],
    [{ path: '/tmp/up.txt' }, 'outside the directory'],
  ]) await assert.rejects(client.artifacts(changed(wrong), join(to, 'out')), says(said));
  assert.equal(existsSync(join(to, 'up.txt')), false);
}));

test('a run without artifacts and series has none', withClient(async (client) => {
  const result = await client.run(directory('exports.main = () => 1;'), {}, { id: newId('none'), timeout });
  assert.deepEqual([result.artifacts, await client.artifacts(result, place())], [[], []]);
  assert.equal((await client.series(result)).size, 0);
}));

test('series of a bot are read while it runs', withClient(async (client) => {
  const source = 'exports.main = () => { require("longshore").metric("beat", 1); setInterval(() => {}, 1000); };';
  const job = await client.submit(directory(source, 'bot.js'), {}, { id: newId('beat'), entrypoint: 'bot' });
  const deadline = Date.now() + PATIENCE * 1000;
  let points;
  while (!(points = (await client.series(job)).get('beat'))) {
    assert.ok(Date.now() < deadline);
    await sleep(500);
  }
  assert.deepEqual(points.map(({ value }) => value), [1]);
  await job.stop({ timeout_seconds: 5 });
  assert.equal((await job.result(timeout)).verdict, 'stopped');
}));

test('the bucket of inputs is a setting', () => {
  assert.equal(settingsFromEnvironment({}).inputsBucket, 'inputs');
  assert.equal(settingsFromEnvironment({ MINIO_INPUTS_BUCKET: 'sets' }).inputsBucket, 'sets');
});
