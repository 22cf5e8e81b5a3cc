// What can go wrong. Every error of this package is a LongshoreError.

import type { Result } from './result.js';

/** What all errors of this package are. */
export class LongshoreError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** A setting is missing or wrong. */
export class SettingsError extends LongshoreError {}

/** The code cannot be packed, or it is not clear what to run in it. */
export class CodeError extends LongshoreError {}

/** The file of a data set cannot be read, or its key is none. */
export class DataError extends LongshoreError {}

/** Broker or store could not be reached for as long as `patienceSeconds` says. */
export class Unavailable extends LongshoreError {}

/** Broker or store refused: a wrong password, a missing right, a namespace without workers. */
export class Refused extends LongshoreError {}

/** A start was not followed because another run of its job is active. */
export class AlreadyActive extends LongshoreError {}

/** The journal has no such run. */
export class UnknownJob extends LongshoreError {}

/** The store has no such artifact, or no longer the one that the run stored. */
export class NotStored extends LongshoreError {}

/** The run has not ended yet. */
export class NotEnded extends LongshoreError {}

/** The run has not ended in time. It goes on: stop it if nobody needs it. */
export class WaitTimeout extends LongshoreError {}

/** The client was closed while somebody waited. */
export class Closed extends LongshoreError {}

/** A run ended neither well nor by a stop. `result` says how. */
export class RunFailed extends LongshoreError {
  constructor(readonly result: Result) {
    super(`${result.id ?? 'the message'}: ${result.verdict}: ${result.message}`);
  }
}
