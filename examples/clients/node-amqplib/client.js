// A client of Longshore in Node.js: starts a job and waits for its result, or watches events.
//
//   npm ci
//   node client.js start ../../ma-crossover/start.json
//   node client.js watch ma-crossover-demo
//
// AMQP_URL says where the broker is, AMQP_NAMESPACE what the names begin with.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import amqp from 'amqplib';

const url = process.env.AMQP_URL ?? 'amqp://longshore:longshore@127.0.0.1:5672/%2f';
const namespace = process.env.AMQP_NAMESPACE ?? 'longshore';
const usage = `usage: client.js start FILE [--wait SECONDS]   (default 300; 0: do not wait)
       client.js watch [ID]`;

async function main() {
  const { command, argument, wait } = readArguments();
  const message = command === 'start' ? readMessage(argument) : undefined;
  const connection = await amqp.connect(url, { timeout: 10_000 });
  const lost = new Promise((_, reject) => {
    connection.on('error', reject);
    connection.on('close', () => reject(new Error('the broker closed the connection')));
  });
  lost.catch(() => {}); // raced below; closing in the end is no failure
  const work = command === 'start' ? startJob(connection, message, wait) : watchEvents(connection, argument ?? '*');
  try {
    return await Promise.race([work, lost]);
  } finally {
    await connection.close().catch(() => {});
  }
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { wait: { type: 'string', default: '300' } } });
    const [command, argument, ...more] = positionals;
    const wait = Number(values.wait);
    const complete = command === 'watch' || (command === 'start' && argument);
    if (complete && more.length === 0 && wait >= 0) return { command, argument, wait };
  } catch {
    // An unknown option: the usage says which there are.
  }
  console.error(usage);
  process.exit(2);
}

function readMessage(file) {
  try {
    const message = JSON.parse(readFileSync(file, 'utf8'));
    if (message?.id === undefined || message.is_long_running === undefined) {
      throw new Error('it is no start message: it has no id or no is_long_running');
    }
    return message;
  } catch (error) {
    throw new Error(`cannot read ${file}: ${error.message}`);
  }
}

async function startJob(connection, message, wait) {
  const channel = await connection.createConfirmChannel();
  const refused = closed(channel);
  // Exclusive: the broker deletes it with this connection, and nobody else reads our replies.
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
  const correlationId = randomUUID();
  const messageId = randomUUID(); // the run's identity: publish it again unchanged after a doubt
  const reply = new Promise((resolve) => {
    const take = (it) => it?.properties.correlationId === correlationId && resolve(JSON.parse(it.content));
    channel.consume(replyTo, take, { noAck: true }).catch(() => {}); // `refused` tells
  });

  const kind = message.is_long_running ? 'long-running' : 'terminating';
  let unroutable = false;
  channel.on('return', () => (unroutable = true)); // comes before the confirm
  channel.publish(`${namespace}.jobs`, `start.${kind}`, Buffer.from(JSON.stringify(message)), {
    contentType: 'application/json',
    persistent: true,
    mandatory: true,
    messageId,
    correlationId,
    replyTo,
    timestamp: Math.floor(Date.now() / 1000), // lets a stop tell whether it came before or after
  });
  const confirmed = channel.waitForConfirms();
  confirmed.catch(() => {}); // when the channel closes, `refused` has the better reason
  await Promise.race([refused, confirmed, after(30, 'the broker did not confirm the message within 30 s')]);
  if (unroutable) throw new Error(`no queue takes start.${kind} in namespace ${namespace}: no worker has declared it yet`);
  console.error(`published ${message.id} as message ${messageId}`);
  if (wait === 0) return 0;

  const late = `no result within ${wait} s; the job may still run: watch ${message.id}`;
  const event = await Promise.race([refused, reply, after(wait, late)]);
  console.log(JSON.stringify(event, null, 2));
  console.error(`${event.subject}: ${event.data.verdict}`);
  return ['succeeded', 'stopped'].includes(event.data.verdict) ? 0 : 1;
}

async function watchEvents(connection, job) {
  const channel = await connection.createChannel();
  const refused = closed(channel);
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const exchange of ['status', 'results']) {
    // {state or verdict}.{entrypoint}.{id}
    await Promise.race([refused, channel.bindQueue(queue, `${namespace}.${exchange}`, `*.*.${job}`)]);
  }
  const seen = new Set(); // events come at least once, and a repeat has the same id
  const show = (delivery) => {
    if (!delivery) return;
    const { id, type, time, subject, data } = JSON.parse(delivery.content);
    if (seen.has(id)) return;
    seen.add(id);
    if (seen.size > 1000) seen.delete(seen.values().next().value);
    console.log(time, subject, type.startsWith('longshore.job.result') ? data.verdict : data.state, data.message ?? '');
  };
  await channel.consume(queue, show, { noAck: true });
  console.error('watching; interrupt to end');
  const interrupted = new Promise((resolve) => process.once('SIGINT', () => resolve(130)));
  return Promise.race([refused, interrupted]);
}

/** Rejects when the broker closes the channel: 404, say, for workers declare the exchanges. */
function closed(channel) {
  const promise = new Promise((_, reject) => {
    const hint = `(has a worker run in namespace ${namespace}?)`;
    channel.on('error', (error) => reject(new Error(`the broker refused: ${error.message} ${hint}`)));
  });
  promise.catch(() => {});
  return promise;
}

function after(seconds, message) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(message)), seconds * 1000).unref();
  });
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message || error.code || String(error));
    process.exit(1);
  },
);
