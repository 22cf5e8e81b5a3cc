// What the tests share. They run beside a real worker: scripts/clients.sh starts one.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, settingsFromEnvironment } from 'longshore';

export const namespace = process.env.AMQP_NAMESPACE;
/** Against hanging, in seconds. */
export const PATIENCE = 120;

export const newId = (name) => `${namespace}-ts-${name}-${randomBytes(3).toString('hex')}`;

/** A directory with a program for a backtest. */
export function directory(source, name = 'backtest.js') {
  const folder = mkdtempSync(join(tmpdir(), 'longshore-'));
  writeFileSync(join(folder, name), source);
  return folder;
}

/** Gives the test a client and closes it. */
export function withClient(test, settings) {
  return async () => {
    const client = new Client(settings);
    try {
      await test(client);
    } finally {
      await client.close();
    }
  };
}

/** A TCP proxy before the broker that can cut all connections. */
export async function proxy() {
  const url = new URL(settingsFromEnvironment().amqpUrl);
  const [host, port] = [url.hostname, Number(url.port || 5672)];
  const sockets = new Set();
  const state = { isOpen: true, connections: 0 };
  const server = createServer((near) => {
    near.on('error', () => {});
    if (!state.isOpen) return near.destroy();
    state.connections += 1;
    const far = connect(port, host);
    far.on('error', () => near.destroy());
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  url.port = String(server.address().port);
  url.hostname = '127.0.0.1';
  return Object.assign(state, {
    amqpUrl: url.href,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    close: () => server.close(),
  });
}
