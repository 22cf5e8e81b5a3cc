// RabbitMQ: a connection that is made again, confirmed publishing, and subscriptions.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import amqp, { type Channel, type ChannelModel, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import { Closed, Refused, Unavailable } from './errors.js';
import { newTrace } from './message.js';
import { required, type Settings } from './settings.js';

const CONNECT_MS = 10_000;
const CONFIRM_MS = 30_000;
const MAX_PAUSE_MS = 5_000;
// How many events are in memory before the broker waits.
const PREFETCH = 100;

/** The connection has ended. */
export class Lost extends Error {}

/** An exchange, and a pattern of routing keys. */
export type Binding = readonly [exchange: string, pattern: string];

/** A message to publish; published again, it is the same. */
export interface Outgoing {
  body: Buffer;
  messageId: string;
  timestamp: number;
  trace: string;
}

/** A message with this body. The time lets a stop tell whether it came before or after a start. */
export function outgoing(body: Buffer, messageId: string): Outgoing {
  return { body, messageId, timestamp: Math.floor(Date.now() / 1000), trace: newTrace() };
}

/** A connection to the broker, made when it is needed, and again when it was lost. */
export class Broker {
  #connection: Promise<ChannelModel> | undefined;
  #publisher: Promise<Publisher> | undefined;
  #isClosed = false;

  constructor(readonly settings: Settings) {}

  async #connect(): Promise<ChannelModel> {
    required(this.settings, 'amqpUrl');
    const { amqpCaFile, amqpClientCertFile, amqpClientKeyFile } = this.settings;
    const tls = {
      ...(amqpCaFile ? { ca: [readFileSync(amqpCaFile)] } : {}),
      ...(amqpClientCertFile ? { cert: readFileSync(amqpClientCertFile) } : {}),
      ...(amqpClientKeyFile ? { key: readFileSync(amqpClientKeyFile) } : {}),
    };
    const urls = this.settings.amqpUrl.split(',').map((url) => url.trim());
    let problem: unknown;
    for (const url of shuffled(urls)) {
      try {
        const clientProperties = { connection_name: 'longshore client for Node.js' };
        return await amqp.connect(url, { timeout: CONNECT_MS, clientProperties, ...tls });
      } catch (error) {
        if (/ACCESS.REFUSED/.test(String(error))) {
          throw new Refused(`the broker refused the user or password of AMQP_URL: ${messageOf(error)}`);
        }
        problem = error;
      }
    }
    throw new Lost(`no connection to the broker: ${messageOf(problem)}`);
  }

  /** The connection that is open, or a new one. */
  async connection(): Promise<ChannelModel> {
    if (this.#isClosed) throw new Closed('the client is closed');
    if (this.#connection) return this.#connection;
    const connecting = this.#connect();
    this.#connection = connecting;
    const forget = () => {
      if (this.#connection === connecting) {
        this.#connection = undefined;
        this.#publisher = undefined;
      }
    };
    try {
      const connection = await connecting;
      connection.on('error', () => {}); // 'close' follows
      connection.on('close', forget);
      return connection;
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** Publishes, and waits for the broker's confirm. */
  async publish(exchange: string, key: string, message: Outgoing): Promise<void> {
    const connection = await this.connection();
    this.#publisher ??= this.#request(Publisher.open(connection));
    const opening = this.#publisher;
    try {
      const publisher = await opening;
      await this.#request(publisher.publish(`${this.settings.namespace}.${exchange}`, key, message));
    } catch (error) {
      if (error instanceof Unroutable) {
        throw new Refused(
          `no queue takes ${key} in the namespace ${this.settings.namespace}: no worker has declared it yet ` +
            '(see AMQP_NAMESPACE)',
        );
      }
      if (this.#publisher === opening) this.#publisher = undefined;
      throw error;
    }
  }

  /** Binds a queue: one of this connection's own, or a durable one that keeps what comes meanwhile. */
  async subscribe(bindings: readonly Binding[], queue?: string): Promise<Subscription> {
    const connection = await this.connection();
    return this.#request(Subscription.open(connection, this, bindings, queue));
  }

  /** Waits for the broker's answer, and says what a refusal means. */
  async #request<T>(request: Promise<T>): Promise<T> {
    const late = new AbortController();
    const limit = sleep(CONFIRM_MS, undefined, { ref: false, signal: late.signal }).then(() => {
      throw new Lost(`the broker did not answer within ${CONFIRM_MS / 1000} s`);
    });
    limit.catch(() => {});
    try {
      return await Promise.race([request, limit]);
    } catch (error) {
      throw this.explained(error);
    } finally {
      late.abort();
    }
  }

  /** What an error of the library means. */
  explained(error: unknown): unknown {
    if (error instanceof Unroutable || error instanceof Lost || error instanceof Refused) return error;
    const code = (error as { code?: unknown } | null)?.code;
    if (code === 403 || code === 404 || code === 405 || code === 406) {
      const hint = code === 404 ? ` (has a worker run in the namespace ${this.settings.namespace}?)` : '';
      return new Refused(`the broker refused: ${messageOf(error)}${hint}`);
    }
    return new Lost(messageOf(error));
  }

  /** Tries again while the broker cannot be reached, for as long as the settings allow. */
  async persist<T>(action: () => Promise<T>): Promise<T> {
    const { patienceSeconds } = this.settings;
    const end = Date.now() + patienceSeconds * 1000;
    for (let pause = 100; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        if (Date.now() + pause > end) {
          const why = `for ${patienceSeconds} s (patienceSeconds): ${error.message}`;
          throw new Unavailable(`the broker could not be reached ${why}`);
        }
      }
      await sleep(pause * (0.5 + Math.random() / 2));
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.close().catch(() => {});
  }
}

/** Nobody takes what was published. */
class Unroutable extends Error {}

/** A channel on which messages are published, each with the broker's confirm. */
class Publisher {
  #failure: unknown;
  readonly #returned = new Set<string>();

  private constructor(readonly channel: ConfirmChannel) {
    channel.on('error', (error: unknown) => (this.#failure = error));
    channel.on('return', (message: ConsumeMessage) => this.#returned.add(String(message.properties.messageId)));
  }

  static async open(connection: ChannelModel): Promise<Publisher> {
    return new Publisher(await connection.createConfirmChannel());
  }

  async publish(exchange: string, key: string, message: Outgoing): Promise<void> {
    const { body, messageId, timestamp, trace } = message;
    await new Promise<void>((resolve, reject) => {
      const confirmed = (error: unknown) => (error ? reject(this.#failure ?? error) : resolve());
      this.channel.on('close', () => reject(this.#failure ?? new Lost('the channel was closed')));
      this.channel.publish(
        exchange,
        key,
        body,
        {
          contentType: 'application/json',
          persistent: true,
          mandatory: true,
          messageId,
          timestamp,
          headers: { traceparent: trace },
        },
        confirmed,
      );
    });
    if (this.#returned.delete(messageId)) throw new Unroutable();
  }
}

/** A queue that is bound and consumed. It ends with its connection. */
export class Subscription {
  readonly #incoming: ConsumeMessage[] = [];
  #ended: unknown;
  #wake: () => void = () => {};

  private constructor(
    readonly channel: Channel,
    readonly broker: Broker,
    readonly queue: string,
  ) {}

  static async open(
    connection: ChannelModel,
    broker: Broker,
    bindings: readonly Binding[],
    queue?: string,
  ): Promise<Subscription> {
    const channel = await connection.createChannel();
    let failure: unknown;
    channel.on('error', (error: unknown) => (failure = error));
    await channel.prefetch(PREFETCH);
    const declared = queue
      ? await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
      : await channel.assertQueue('', { exclusive: true });
    const subscription = new Subscription(channel, broker, declared.queue);
    const end = () => subscription.#end(failure ?? new Lost('the channel was closed'));
    channel.on('close', end);
    for (const [exchange, pattern] of bindings) await subscription.bind(exchange, pattern);
    await channel.consume(declared.queue, (message) => {
      if (message) subscription.#incoming.push(message);
      else end(); // the queue was deleted
      subscription.#wake();
    });
    return subscription;
  }

  #end(why: unknown): void {
    this.#ended ??= this.broker.explained(why);
    this.#wake();
  }

  /** Adds a pattern of routing keys. */
  async bind(exchange: string, pattern: string): Promise<void> {
    try {
      await this.channel.bindQueue(this.queue, `${this.broker.settings.namespace}.${exchange}`, pattern);
    } catch (error) {
      throw this.broker.explained(error);
    }
  }

  /** Takes a pattern away again. */
  async unbind(exchange: string, pattern: string): Promise<void> {
    try {
      await this.channel.unbindQueue(this.queue, `${this.broker.settings.namespace}.${exchange}`, pattern);
    } catch (error) {
      throw this.broker.explained(error);
    }
  }

  /** The next message, to be acknowledged. Throws Lost. */
  async next(): Promise<ConsumeMessage> {
    for (;;) {
      const message = this.#incoming.shift();
      if (message) return message;
      if (this.#ended) throw this.#ended;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Acknowledges. One whose connection is lost comes again, if its queue lives on. */
  ack(message: ConsumeMessage): void {
    try {
      this.channel.ack(message);
    } catch (error) {
      throw this.broker.explained(error);
    }
  }

  /** Ends the subscription. */
  async close(): Promise<void> {
    this.#end(new Closed('the client is closed'));
    await this.channel.close().catch(() => {});
  }
}

function shuffled<T>(items: T[]): T[] {
  return items.map((item) => ({ item, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}

function messageOf(error: unknown): string {
  const { message, code } = (error ?? {}) as { message?: string; code?: unknown };
  return message || String(code ?? error);
}
