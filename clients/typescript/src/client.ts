// The client.

import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { basename, extname, resolve } from 'node:path';
import { type Binding, Broker, Lost, outgoing } from './broker.js';
import { type Code, pack } from './code.js';
import { WaitTimeout } from './errors.js';
import { type LogLine, readLog } from './logs.js';
import { complete, type Fields, jobName, readStartFile } from './message.js';
import type { Event, Input, StopMessage } from './models.js';
import { type AnyRun, type Point, putData, readArtifact, readSeries, saveArtifacts } from './objects.js';
import type { Result } from './result.js';
import { parseEvent, Run, Runs } from './runs.js';
import { type Settings, settingsFromEnvironment } from './settings.js';
import { Store } from './store.js';

// Repeats of an event have its id. So many ids are remembered.
const REMEMBERED_EVENTS = 10_000;

/** How a call of `run` waits. */
export interface RunOptions extends Fields {
  /** Seconds to wait; by default without end. The run goes on afterwards. */
  timeout?: number;
  /** Whether a run that ends neither well nor by a stop is an error. By default it is. */
  check?: boolean;
}

/** Which events to follow. */
export interface EventOptions {
  /** Of this job only. */
  id?: string;
  /** A pattern of routing keys of status events, such as `finished.bot.*`. With it, only what it matches comes. */
  status?: string;
  /** A pattern of routing keys of result events, such as `failed.#`. With it, only what it matches comes. */
  results?: string;
  /** A durable queue to read: it is declared and keeps what comes. An event leaves it when you ask for the next one. */
  queue?: string;
}

/**
 * Starts jobs and follows them.
 *
 * Connections are made when they are needed, and again when they were lost. `close` them in the end.
 */
export class Client {
  readonly settings: Settings;
  readonly #broker: Broker;
  readonly #store: Store;
  readonly #runs: Runs;

  /** The settings come from the environment, except those that are given. */
  constructor(settings: Partial<Settings> = {}) {
    this.settings = { ...settingsFromEnvironment(), ...settings };
    this.#broker = new Broker(this.settings);
    this.#store = new Store(this.settings);
    this.#runs = new Runs(this.#broker);
  }

  /** Closes the connections. Jobs go on. */
  async close(): Promise<void> {
    await this.#runs.close();
    await this.#broker.close();
    this.#store.close();
  }

  /**
   * Uploads code, starts it, and waits for its result.
   *
   * `code` is a directory or a zip. A `start.json` in the directory gives fields of the start message; `config` and
   * `options` win over it. What is left out is filled in: the script by its name, the runtime by its extension.
   *
   * Throws RunFailed if the run ended neither well nor by a stop (not with `check: false`), and WaitTimeout after
   * `timeout` seconds.
   */
  async run(code: string, config?: Record<string, unknown>, options: RunOptions = {}): Promise<Result> {
    const { timeout, check = true, ...fields } = options;
    const job = await this.submit(code, config, fields);
    const result = await job.result(timeout);
    return check ? result.require() : result;
  }

  /**
   * Uploads code and starts it, like `run`, and does not wait.
   *
   * Without `code`, `fields` are the whole start message, with the `file_path` of code that is stored already.
   */
  async submit(code: string | undefined, config?: Record<string, unknown>, fields: Fields = {}): Promise<Job> {
    let given: Fields = config === undefined ? fields : { ...fields, config };
    let names: readonly string[] = [];
    let name = 'job';
    if (code !== undefined) {
      const packed = await this.upload(code);
      const base = statSync(code).isDirectory() ? readStartFile(code) : {};
      name = jobName(basename(resolve(code), extname(code)));
      names = packed.names;
      given = { ...base, ...given, file_path: packed.key, code_sha256: packed.sha256 };
    }
    const message = complete(given, names, name);
    const body = Buffer.from(JSON.stringify(message));
    const run = new Run(message.id, message.run_id ?? '', message.is_long_running, body, randomUUID());
    await this.#runs.start(run);
    return new Job(this, this.#store, run);
  }

  /** Stores code, unless it is there already. Its `key` is the `file_path` of a start message. */
  async upload(code: string): Promise<Code> {
    const packed = pack(code);
    await this.#store.upload(packed);
    return packed;
  }

  /** Asks for the end of a job. After `timeout_seconds` (30) it is killed. */
  async stop(id: string, options: Omit<StopMessage, 'id'> = {}): Promise<void> {
    const message: StopMessage = { id, ...options };
    const stop = outgoing(Buffer.from(JSON.stringify(message)), randomUUID());
    await this.#broker.persist(() => this.#broker.publish('jobs', 'stop', stop));
  }

  /**
   * Events as they come, each once: of one job, or of all.
   *
   * Events that are published while the connection is lost are missed, except with `queue`.
   */
  async *events(options: EventOptions = {}): AsyncGenerator<Event, void> {
    const { id = '*', status, results, queue } = options;
    const bindings: Binding[] = [];
    if (status !== undefined || results === undefined) bindings.push(['status', status ?? `*.*.${id}`]);
    if (results !== undefined || status === undefined) bindings.push(['results', results ?? `*.*.${id}`]);
    const seen = new Set<string>();
    for (;;) {
      const subscription = await this.#broker.persist(() => this.#broker.subscribe(bindings, queue));
      try {
        for (;;) {
          const message = await subscription.next();
          const event = parseEvent(message.content);
          if (event && !seen.has(event.id)) {
            seen.add(event.id);
            if (seen.size > REMEMBERED_EVENTS) seen.delete(seen.values().next().value ?? '');
            yield event;
          }
          subscription.ack(message);
        }
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
      } finally {
        await subscription.close();
      }
    }
  }

  /** The stored lines of a job, the oldest first. A worker stores new ones every LOG_INTERVAL_SECONDS. */
  logs(id: string): AsyncGenerator<LogLine, void> {
    return readLog(this.#store, id);
  }

  /**
   * How the latest run of a job ended, or this run of it.
   *
   * Throws NotEnded while it goes on, and UnknownJob if the journal has no such run. Needs the right to read the state
   * bucket.
   */
  async result(id: string, runId?: string): Promise<Result> {
    return this.#store.result(id, runId);
  }

  /**
   * Stores a file as a data set, unless the same bytes are there already, and returns what a start message needs in
   * its list of `inputs`. By default its key is its name, and the program finds it at `data/NAME`.
   */
  async putData(file: string, options: { key?: string; path?: string } = {}): Promise<Input> {
    return putData(this.#store, file, options);
  }

  /** One of the files that a run left: its path as in `result.artifacts`. */
  async artifact(result: Result, path: string): Promise<Uint8Array> {
    return readArtifact(this.#store, result, path);
  }

  /** Writes all files that a run left below the directory `to`, and says where they are. */
  async artifacts(result: Result, to: string): Promise<string[]> {
    return saveArtifacts(this.#store, result, to);
  }

  /**
   * What the program of a run measured, by name: of a Result, or of a Job that goes on. A worker stores new points
   * every SERIES_INTERVAL_SECONDS.
   */
  async series(run: AnyRun): Promise<Map<string, Point[]>> {
    return readSeries(this.#store, run);
  }
}

/** A run that was started. */
export class Job {
  readonly #store: Store;
  readonly #run: Run;

  constructor(
    readonly client: Client,
    store: Store,
    run: Run,
  ) {
    this.#store = store;
    this.#run = run;
  }

  /** The job. */
  get id(): string {
    return this.#run.id;
  }

  /** The run. */
  get runId(): string {
    return this.#run.runId;
  }

  /**
   * How it ended, once it has. Throws WaitTimeout after `timeout` seconds, and AlreadyActive if another run of the job
   * was active, so that this one was not started.
   */
  async result(timeout?: number): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      if (timeout === undefined) return;
      const error = new WaitTimeout(`${this.id} has not ended within ${timeout} s; it goes on`);
      timer = setTimeout(() => reject(error), timeout * 1000);
    });
    try {
      return await this.#store.withValue(await Promise.race([this.#run.ended, late]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks for its end. */
  async stop(options: Omit<StopMessage, 'id' | 'run_id'> = {}): Promise<void> {
    await this.client.stop(this.id, { ...options, run_id: this.runId });
  }

  /** Events of the job, from now on, until this run has ended. */
  async *events(): AsyncGenerator<Event, void> {
    for await (const event of this.client.events({ id: this.id })) {
      if (event.data.run_id !== this.runId) continue;
      yield event;
      if (event.type === 'longshore.job.result.v1') return;
    }
  }

  /** The stored lines of the job, those of earlier runs included. */
  logs(): AsyncGenerator<LogLine, void> {
    return this.client.logs(this.id);
  }
}
