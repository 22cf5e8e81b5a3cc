// A client of Longshore: starts bots and backtests, and gets their results.

export { Client, type EventOptions, Job, type RunOptions } from './client.js';
export { type Code, pack } from './code.js';
export * from './errors.js';
export type { LogLine } from './logs.js';
export type { Fields } from './message.js';
export type * from './models.js';
export type { AnyRun, Point } from './objects.js';
export { Result } from './result.js';
export { type Settings, settingsFromEnvironment } from './settings.js';
