// The runs that this client has started, and their ends.
//
// One queue gets the results of all of them. While the connection is lost, results may be missed. So afterwards each
// start is published again, unchanged: a worker answers the start of a run that has ended with its result, drops that
// of a run that goes on, and never runs one twice.

import { type Binding, type Broker, Lost, type Outgoing, outgoing, type Subscription } from './broker.js';
import { AlreadyActive, Closed } from './errors.js';
import { refusalId } from './message.js';
import type { Event, ResultEvent } from './models.js';

// Refusals of messages that are too broken to name a job. Ours may be among them.
const REFUSALS: Binding = ['results', '*.*.unknown'];

/** A run and its start message. */
export class Run {
  /** How it ended. */
  readonly ended: Promise<ResultEvent>;
  readonly message: Outgoing;
  /** The id of the event that would refuse its message. */
  readonly refusal: string;
  settle!: (event: ResultEvent) => void;
  fail!: (error: unknown) => void;

  constructor(
    readonly id: string,
    readonly runId: string,
    readonly isLongRunning: boolean,
    body: Buffer,
    messageId: string,
  ) {
    this.message = outgoing(body, messageId);
    this.refusal = refusalId(messageId, body);
    this.ended = new Promise((resolve, reject) => ([this.settle, this.fail] = [resolve, reject]));
    this.ended.catch(() => {}); // whoever waits hears of it
  }

  /** What to listen to. */
  get bindings(): Binding[] {
    return [
      ['results', `*.*.${this.id}`],
      ['status', `duplicate.*.${this.id}`],
    ];
  }
}

/** Starts runs, and listens for their ends for as long as there are any. */
export class Runs {
  readonly #open = new Map<string, Run>();
  #subscription: Promise<Subscription> | undefined;
  #isClosed = false;

  constructor(readonly broker: Broker) {}

  /** Publishes the start of a run once its end will be heard. */
  async start(run: Run): Promise<void> {
    try {
      await this.broker.persist(async () => {
        const subscription = await this.#listening();
        for (const [exchange, pattern] of run.bindings) await subscription.bind(exchange, pattern);
        this.#open.set(run.runId, run);
        await this.#publish(run);
      });
    } catch (error) {
      this.#open.delete(run.runId);
      throw error;
    }
  }

  async #publish(run: Run): Promise<void> {
    await this.broker.publish('jobs', run.isLongRunning ? 'start.long-running' : 'start.terminating', run.message);
  }

  #listening(): Promise<Subscription> {
    if (this.#subscription) return this.#subscription;
    const bindings = [REFUSALS, ...[...this.#open.values()].flatMap((run) => run.bindings)];
    const subscribing = this.broker.subscribe(bindings);
    this.#subscription = subscribing;
    subscribing.then(
      (subscription) => void this.#listen(subscription),
      () => (this.#subscription = undefined),
    );
    return subscribing;
  }

  async #listen(subscription: Subscription): Promise<void> {
    try {
      for (;;) {
        const message = await subscription.next();
        await this.#take(message.content, subscription);
        subscription.ack(message);
      }
    } catch (error) {
      this.#subscription = undefined;
      if (this.#isClosed) return;
      if (!(error instanceof Lost)) return this.#failAll(error);
    }
    if (this.#open.size === 0) return; // the next start listens again
    try {
      await this.broker.persist(async () => {
        await this.#listening();
        for (const run of [...this.#open.values()]) await this.#publish(run);
      });
    } catch (error) {
      this.#failAll(error);
    }
  }

  #failAll(error: unknown): void {
    for (const run of this.#open.values()) run.fail(error);
    this.#open.clear();
  }

  async #take(content: Buffer, subscription: Subscription): Promise<void> {
    const event = parseEvent(content);
    const run = event && this.#runOf(event);
    if (!run) return;
    if (event.type === 'longshore.job.result.v1') {
      run.settle(event);
    } else if (event.data.state === 'duplicate' && !event.data.message?.endsWith(`run ${run.runId}`)) {
      run.fail(new AlreadyActive(`${run.id} was not started: ${event.data.message ?? 'it is active already'}`));
    } else {
      return;
    }
    this.#open.delete(run.runId);
    if ([...this.#open.values()].every((other) => other.id !== run.id)) {
      for (const [exchange, pattern] of run.bindings) await subscription.unbind(exchange, pattern);
    }
  }

  /** Whose event it is. Anybody may name our run in a bad message, so a refusal counts by its id alone. */
  #runOf(event: Event): Run | undefined {
    if (event.id.startsWith('refused/')) return [...this.#open.values()].find((run) => run.refusal === event.id);
    const run = this.#open.get(event.data.run_id ?? '');
    return run?.id === event.data.id ? run : undefined;
  }

  /** Stops listening. Whoever waits for a result gets Closed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(new Closed('the client was closed before the run ended; it goes on'));
    const subscription = await this.#subscription?.catch(() => undefined);
    await subscription?.close();
  }
}

/** An event; undefined for what is none. */
export function parseEvent(content: Buffer): Event | undefined {
  try {
    const event = JSON.parse(content.toString()) as Event | null;
    return typeof event?.id === 'string' && typeof event.data === 'object' && event.data !== null ? event : undefined;
  } catch {
    return undefined;
  }
}
