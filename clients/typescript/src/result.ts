// How a run ended.

import { RunFailed } from './errors.js';
import type { Artifact, ExecutionResult, ResultEvent, Verdict } from './models.js';

/** How a run ended, and what it returned. */
export class Result {
  constructor(
    /** The whole event. */
    readonly event: ResultEvent,
    /** What the code returned. Undefined if it returned nothing, or if its result was not stored. */
    readonly value: unknown = event.data.result,
  ) {}

  /** Everything that the event says: times, attempts, resources, keys in the store. */
  get data(): ExecutionResult {
    return this.event.data;
  }

  /** How the run ended. */
  get verdict(): Verdict {
    return this.data.verdict ?? 'failed';
  }

  /** Whether it succeeded or was stopped. */
  get ok(): boolean {
    return this.verdict === 'succeeded' || this.verdict === 'stopped';
  }

  /** Itself, if the run ended well or was stopped. Throws RunFailed otherwise. */
  require(): this {
    if (!this.ok) throw new RunFailed(this);
    return this;
  }

  /** One sentence that says how the run ended, and where it failed. */
  get message(): string {
    return this.data.message;
  }

  /** The last part of what the code wrote to stdout and stderr. */
  get output(): string {
    return this.data.output;
  }

  /** The files that the program left, if the start message asked for artifacts. */
  get artifacts(): readonly Artifact[] {
    return this.data.objects?.artifacts ?? [];
  }

  /** The job. */
  get id(): string | undefined {
    return this.data.id;
  }

  /** The run. */
  get runId(): string | undefined {
    return this.data.run_id;
  }
}
