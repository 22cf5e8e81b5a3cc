// Packing: no server.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { CodeError, pack, settingsFromEnvironment } from 'longshore';

function folderOf(files) {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}
const namesOf = (folder) => [...pack(folder).names].sort();
const says = (pattern) => (error) => error instanceof CodeError && pattern.test(error.message);

test('the same files give the same zip', () => {
  const [a, b] = [folderOf({ 'main.js': '1', 'run.sh': '' }), folderOf({ 'run.sh': '', 'main.js': '1' })];
  chmodSync(join(a, 'run.sh'), 0o700);
  chmodSync(join(b, 'run.sh'), 0o777);
  assert.equal(pack(a).key, pack(b).key);
  writeFileSync(join(b, 'main.js'), '2');
  assert.notEqual(pack(a).key, pack(b).key);
});

test('secrets and what is ignored stay at home', () => {
  const names = [
    'main.js', '.env', '.env.local', '.git/config', 'lib/__pycache__/a.pyc', 'lib/a.js', 'data/big.csv',
    'node_modules/x/index.js', 'node_modules/x/data/y',
  ];
  const folder = folderOf(Object.fromEntries(names.map((name) => [name, 'x'])));
  writeFileSync(join(folder, '.gitignore'), 'node_modules/\ndata/\n');
  const code = ['lib/a.js', 'main.js', 'node_modules/x/data/y', 'node_modules/x/index.js'];
  assert.deepEqual(namesOf(folder), ['.gitignore', ...code]);
  writeFileSync(join(folder, '.longshoreignore'), 'lib/\nnode_modules/\n.gitignore\n');
  assert.deepEqual(namesOf(folder), ['data/big.csv', 'main.js']);
});

test('links are followed within the directory only', () => {
  const folder = folderOf({ 'main.js': 'x' });
  symlinkSync('main.js', join(folder, 'same.js'));
  assert.deepEqual(namesOf(folder), ['main.js', 'same.js']);
  symlinkSync('/etc/hostname', join(folder, 'out.js'));
  assert.throws(() => pack(folder), says(/leaves the directory/));
  rmSync(join(folder, 'out.js'));
  symlinkSync('.', join(folder, 'circle'));
  assert.throws(() => pack(folder), says(/a folder it lies in/));
});

test('what is no code is said', () => {
  const folder = folderOf({ 'text.zip': 'x' });
  mkdirSync(join(folder, 'empty'));
  assert.throws(() => pack(join(folder, 'empty')), says(/no file/));
  assert.throws(() => pack(join(folder, 'text.zip')), says(/nor a zip/));
  assert.throws(() => pack(join(folder, 'missing')), says(/cannot be read/));
});

test('settings come from the environment', () => {
  const { namespace, storeSsl, codeBucket } = settingsFromEnvironment({ AMQP_NAMESPACE: 'x', MINIO_SSL: 'true' });
  assert.deepEqual([namespace, storeSsl, codeBucket], ['x', 'true', 'custom-bots']);
});
