// The types of Longshore's messages, generated from its schemas by clients/generate.py.

/** How many artifacts there may be. By default, and at most, what the worker's settings say. */
export interface ArtifactsRequest {
  /** Files. */
  max_files?: number | null;
  /** What they may hold together, in MiB. They lie in the container's memory until it ends. */
  max_mb?: number | null;
}

/**
 * Which rows are the best. Only configs that succeeded count. Of equal values, the lower number comes first, and
 * rows without the value come last.
 */
export interface BestRequest {
  /** A number of the result: the name of a field, or a JSON Pointer. */
  by: string;
  /** Whether the largest or the smallest is best. */
  goal?: Goal;
  /** How many rows the result event names. */
  keep?: number;
}

/** The two kinds of program. The kind is also the name of the code's directory. */
export type Entrypoint = 'bot' | 'backtest';

/** Whether the largest or the smallest value is best. */
export type Goal = 'max' | 'min';

/** The values of one key of a grid: a list, or a range of numbers, both ends included. */
export type GridAxis = unknown[] | { [key: string]: unknown };

/** A command that the engine runs inside the container to tell whether it is well. */
export interface HealthCheck {
  /** The program and its arguments, at most 64 KiB in all. Exit code 0 means well. */
  command: string[];
  /** Seconds between two checks. The worker's settings say how few there may be. */
  interval_seconds?: number;
  /** Failed checks in a row that make the container unhealthy. */
  retries?: number;
  /** Seconds after the start in which failures do not count. */
  start_period_seconds?: number;
  /** Seconds after which a check counts as failed. */
  timeout_seconds?: number;
}

/** An object of the inputs bucket, and where the program finds it. */
export interface Input {
  /** Its key in the inputs bucket. It does not end in a slash and has no backslash. */
  key: string;
  /**
   * Where it is: a path relative to the code, with `/` between its parts. With `unpack` it is a folder. It may lie
   * in a folder of the code, but not in place of one of its files.
   */
  path: string;
  /**
   * SHA-256 of the object, in hexadecimal. Checked when given. Where a worker has these bytes already, it does not
   * ask the store.
   */
  sha256?: string | null;
  /**
   * Whether the object is a zip or a tar (plain, or packed with gzip or Zstandard) whose content is to be in the
   * folder `path`. By default it is a file, whatever is in it.
   */
  unpack?: boolean;
}

/** How the configs of a sweep are kept apart. */
export type Isolation = 'fork' | 'isolate' | 'shared' | 'process';

/** 1 to 128 letters, digits, '_' and '-'; the first is a letter or a digit. */
export type JobId = string;

/** Resources that a message asks for. By default the worker's settings. */
export interface LimitsRequest {
  /** Relative weight when processors are scarce; 1,024 is one full share. */
  cpu_shares?: number | null;
  /** Processors at most, for example 0.5. */
  cpus?: number | null;
  /** Memory in MiB. */
  memory_mb?: number | null;
  /** Processes and threads at most. */
  pids?: number | null;
}

/** The container's network. */
export type Network = 'host' | 'bridge' | 'none';

/** Whether, and how often, code that ended by itself is run again. */
export interface RestartPolicy {
  /** Seconds to wait before the first restart; doubled for each further one, up to 5 minutes. */
  backoff_seconds?: number;
  /** How often at most. */
  max_restarts?: number;
  /** After which ends. */
  when: RestartWhen;
}

/** After which ends code is run again. */
export type RestartWhen = 'on_failure' | 'always';

/** 1 to 128 letters, digits, '_' and '-'; the first is a letter or a digit. */
export type RunId = string;

/**
 * The name of a runtime. Built in are python3.11, nodejs20, python3.12, python3.13, nodejs22, nodejs24, shell and
 * binary; an operator may add others.
 */
export type Runtime = string;

/** From where a key takes its random values. */
export type SampleAxis = { [key: string]: unknown };

/** Random configs. */
export interface SampleRequest {
  /** From where each key takes its values. A key is written as in a grid. */
  keys: { [key: string]: SampleAxis };
  /** How many. */
  n: number;
  /** What the values depend on, together with a config's number and the key. */
  seed?: number;
}

/** The state that a bot keeps across attempts, runs and workers. */
export interface StateRequest {
  /** The most that it may have as JSON, in KiB. By default, and at most, the worker's setting. */
  max_kb?: number | null;
  /**
   * Whether this run begins without what earlier runs of the job kept. Its own later attempts have what it keeps
   * itself.
   */
  reset?: boolean;
}

/**
 * Runs the code once for each of many configs. Exactly one of `grid`, `configs`, `sample` and `configs_key` says
 * which. Each is laid over the message's `config` by RFC 7396 (JSON Merge Patch): objects are merged, any other
 * value replaces the one there, and null removes it.
 */
export interface SweepRequest {
  /** Which rows are the best. */
  best?: BestRequest | null;
  /** These configs, one after the other. */
  configs?: ({ [key: string]: unknown })[] | null;
  /**
   * The key of an object in the code bucket with a config on each line (JSON Lines). It must not change while the
   * sweep runs.
   */
  configs_key?: string | null;
  /** SHA-256 of that object, in hexadecimal. Checked when given. */
  configs_sha256?: string | null;
  /**
   * Every combination of these values. The last key changes fastest. A key is a field of `config`, or a JSON
   * Pointer through objects, such as `/risk/stop`.
   */
  grid?: { [key: string]: GridAxis } | null;
  /** How configs are kept apart. By default `fork` for Python and `isolate` for Node.js. */
  isolation?: Isolation | null;
  /** After how many configs that did not succeed the sweep ends as `failed`. By default never. */
  max_failures?: number | null;
  /** How many configs run at a time. By default as many as the container has processors. */
  parallel?: number | null;
  /** Random configs. The same seed gives the same configs everywhere. */
  sample?: SampleRequest | null;
  /**
   * Seconds after which a config is ended as `timed_out`. By default only the run's own `timeout_seconds` holds,
   * for all configs together.
   */
  timeout_seconds?: number | null;
}

/** A start message: what to run, and how. Debug output shows no values of config and environment. */
export interface StartMessage {
  /**
   * Asks for artifacts: files that the program leaves in the directory `ARTIFACTS_DIR` are stored when it ends,
   * and listed in the result event.
   */
  artifacts?: ArtifactsRequest | null;
  /** SHA-256 of the zip, in hexadecimal. Checked when given. */
  code_sha256?: string | null;
  /** Passed to the code unchanged. */
  config: { [key: string]: unknown };
  /** Which of the entrypoint files to run. */
  entrypoint: Entrypoint;
  /** The script of each entrypoint, relative to the archive's root. */
  entrypoint_files: { [key: string]: string };
  /**
   * More environment variables, at most 1,000, with 512 KiB in all. Those by which the shell, the loader or an
   * interpreter runs or loads something before the script are refused, and so are those that the worker sets.
   */
  env?: { [key: string]: string };
  /** The key of the zip in the code bucket. It does not end in a slash and has no backslash. */
  file_path: string;
  /** How to tell whether a bot is well. */
  health_check?: HealthCheck | null;
  /** The job's id. One job of an id runs at a time. */
  id: JobId;
  /**
   * Objects of the inputs bucket that the program finds among its own files, read-only. At most as many, and
   * together as large, as the worker's settings allow.
   */
  inputs?: Input[];
  /** `true`: runs until it is stopped. `false`: runs to its end and returns a result. */
  is_long_running: boolean;
  /** Resources. By default, and at most, what the worker's settings say. */
  limits?: LimitsRequest | null;
  /** Seconds between two shipments of log lines. By default the worker's setting. */
  log_interval_seconds?: number | null;
  /** How often a terminating run is tried when its host dies or our infrastructure fails. */
  max_attempts?: number | null;
  /** The container's network. By default the worker's setting. */
  network?: Network | null;
  /** Whether a terminating run's result.json is stored as `{id}/analysis.json`. */
  persist_results: boolean;
  /** Whether code that ended by itself is run again. By default never. */
  restart?: RestartPolicy | null;
  /** The id of this execution. By default derived from the message's `message_id`. */
  run_id?: RunId | null;
  /** What the program runs in: a language with its version, or a program of its own. */
  runtime: Runtime;
  /**
   * What must not be seen in logs, results and events: names of variables in `env`, and places of texts in
   * `config` as JSON Pointers, such as `/exchange/api_key`. Each text must have 4 to 8,192 bytes.
   */
  secrets?: string[];
  /**
   * Asks for a state: the program finds what it kept last in the file `STATE_FILE`, and keeps there what its next
   * attempt, or the next run of the job, is to find. Only for runs that last until they are stopped.
   */
  state?: StateRequest | null;
  /** Runs the code once for each of many configs. Only for runs that end by themselves. */
  sweep?: SweepRequest | null;
  /**
   * Seconds after which the run is ended as `timed_out`. By default the worker's setting for terminating runs, and
   * none for long-running ones.
   */
  timeout_seconds?: number | null;
}

/** A stop message. */
export interface StopMessage {
  /** The job to stop. */
  id: JobId;
  /** Why, for the result event. */
  reason?: string | null;
  /** Only this run of the job. By default the active run. */
  run_id?: RunId | null;
  /** Seconds between SIGTERM and SIGKILL. */
  timeout_seconds?: number;
}

/** A file that a program left, and where it is. */
export interface Artifact {
  /** Its size. */
  bytes: number;
  /** Its type, by its file extension. */
  content_type: string;
  /** Its key in the results bucket. */
  key: string;
  /** Its path in the directory of artifacts. */
  path: string;
  /** Its SHA-256, in hexadecimal. */
  sha256: string;
}

/**
 * One of the best rows. Of config and result only the numbers, texts and truth values; the names of those in
 * objects are joined by dots.
 */
export interface BestRow {
  /** What differs from the message's `config`. */
  config: { [key: string]: unknown };
  /** The config's number. */
  index: number;
  /** What its code returned. */
  result: { [key: string]: unknown };
  /** The value by which it is ranked. Absent if the result has none. */
  value?: number;
}

/** The best row so far. */
export interface BestSoFar {
  /** The config's number. */
  index: number;
  /** The value by which it is the best. */
  value: number;
}

/** Everything that is known about a run when it has ended. */
export interface ExecutionResult {
  /** Which attempt ended like this; the first is 1. 0 if none began. */
  attempt: number;
  /** The engine's id of the container. Absent when none was made. */
  container_id?: string;
  /** Seconds from the container's start to its end. */
  duration_seconds: number;
  /** The kind of program. */
  entrypoint?: Entrypoint;
  /** Why the run did not succeed. */
  error?: string;
  /** The exit code of the container. Absent when none ran. */
  exit_code?: number;
  /** When the run ended. */
  finished_at: string;
  /**
   * The job. A refusal leaves it out if the message is too broken to name one, or if the named job is active:
   * readers would take the refusal for the end of that job's run.
   */
  id?: JobId;
  /** As the message said. */
  is_long_running: boolean;
  /** One sentence that says how the run ended, and where it failed. */
  message: string;
  /** Further facts, such as the image that ran. */
  metadata?: { [key: string]: string };
  /** Where the whole result and the logs are. */
  objects: StoredObjects;
  /** The last part of what the code wrote to stdout and stderr, in order of arrival. */
  output: string;
  /** What the container used. */
  resources?: ResourceUse;
  /** The code's result.json, unless it is too large for an event or was not written. */
  result?: unknown;
  /**
   * The run. A refusal leaves it out, because the run that a refused message names may belong to another message,
   * with a result of its own.
   */
  run_id?: RunId;
  /** The segment that owned the run. */
  segment?: number;
  /** When the container started. */
  started_at?: string;
  /** Coarse status. */
  status: ResultStatus;
  /** What came of a sweep. */
  sweep?: SweepSummary;
  /** How the run ended. Absent only while it runs. */
  verdict?: Verdict;
  /** The name of the worker. */
  worker: string;
}

/**
 * How far a program says that it is. It also has the fields of a sweep's progress that are always there, because
 * readers of version 0.2.0 need them.
 */
export interface ProgramProgress {
  /** `percent`, rounded down. */
  done: number;
  /** Always 0. */
  failed: number;
  /** Always 0. */
  per_second: number;
  /** How far, from 0 to 100, with at most two decimals. */
  percent: number;
  /** What the program says about it, at most 200 characters, with secrets masked. */
  text?: string;
  /** Always 100. */
  total: number;
}

/** What a container used, as far as the engine could tell. */
export interface ResourceUse {
  /** Processor time in seconds. */
  cpu_seconds?: number;
  /** The most memory it held, in bytes, cached files included. */
  peak_memory_bytes?: number;
}

/** A coarse status, for readers that do not need the verdict. */
export type ResultStatus = 'running' | 'success' | 'error';

/** How far a run is. */
export type RunProgress = ProgramProgress | SweepProgress;

/** A series in short. */
export interface SeriesSummary {
  /** The newest. */
  last: number;
  /** Its name. */
  name: string;
  /** How many points there were. */
  points: number;
}

/** Where a job is on its way. */
export type State = 'accepted' | 'preparing' | 'running' | 'restarting' | 'unhealthy' | 'stopping' | 'finished' | 'duplicate' | 'not_running';

/** The payload of a status event. */
export interface Status {
  /** Which attempt; the first is 1. 0 before the first. */
  attempt: number;
  /** The engine's id of the container, once there is one. */
  container_id?: string;
  /** The kind of program. */
  entrypoint?: Entrypoint;
  /** The job. */
  id: JobId;
  /** More about it, in one sentence. */
  message?: string;
  /** How far the run is, in state `running`, at most once a second: what its program says, or what a sweep counts. */
  progress?: RunProgress;
  /** The run, if the message named one or it is known. */
  run_id?: RunId;
  /** The segment that owns the run. */
  segment?: number;
  /** Where the job is. */
  state: State;
  /** How the run ended, in state `finished`. */
  verdict?: Verdict;
  /** The name of the worker. */
  worker: string;
}

/** Where a run's objects are: keys in the buckets of the object store. */
export interface StoredObjects {
  /** The files that the program left as artifacts, in the results bucket. */
  artifacts?: Artifact[];
  /** The same as a table, in CSV: a column for each number or text of config and result. */
  csv_key?: string;
  /** The daily logs, in the logs bucket. */
  log_keys?: string[];
  /** The whole output of a terminating run, in the results bucket. */
  output_key?: string;
  /** The whole result.json, in the results bucket. */
  result_key?: string;
  /** The rows of a sweep in the order of its configs, as JSON Lines, in the results bucket. */
  rows_key?: string;
  /** These series in short. */
  series?: SeriesSummary[];
  /**
   * The series that the program measured in its last attempt, in the results bucket: a line of JSON for each
   * point. Those of earlier attempts are beside it.
   */
  series_key?: string;
}

/** How far a sweep is. */
export interface SweepProgress {
  /** The best row so far, if the message says what is best. */
  best?: BestSoFar;
  /** How many configs have a row. */
  done: number;
  /** How many of these did not succeed. */
  failed: number;
  /** Rows a second, of late. */
  per_second: number;
  /** How many seconds the rest may take. Absent until that can be said. */
  seconds_left?: number;
  /** How many there are. */
  total: number;
}

/** What came of a sweep. */
export interface SweepSummary {
  /** The best rows, the best first, as far as they fit into 64 KiB. */
  best?: BestRow[];
  /** How many have a row. */
  done: number;
  /** How many of these did not succeed. */
  failed: number;
  /** How many configs there are. 0 if that is not known. */
  total: number;
  /** How many rows there are of each verdict. */
  verdicts: { [key: string]: number };
}

/** How a run ended. Every run ends in exactly one. */
export type Verdict = 'succeeded' | 'failed' | 'timed_out' | 'out_of_memory' | 'stopped' | 'cancelled' | 'rejected' | 'unavailable' | 'lost';

/** A job moved on. */
export interface StatusEvent {
  /**
   */
  data: Status;
  /** Always `application/json`. */
  datacontenttype: 'application/json';
  /**
   * The same for every publication of the same event, so readers can drop repeats. The id of a refused message
   * begins with `refused/` and is made from the whole message, so it is never the end of a run.
   */
  id: string;
  /** The source: `/longshore/{namespace}/segments/{n}`. */
  source: string;
  /** Always `1.0`. */
  specversion: '1.0';
  /** The job's id, as in the payload. Absent if the payload has none. */
  subject?: string;
  /** When it happened. */
  time: string;
  /** The trace of the message that started the run, as W3C Trace Context. */
  traceparent?: string;
  /**
   */
  type: 'longshore.job.status.v1';
}

/** A run ended. */
export interface ResultEvent {
  /**
   */
  data: ExecutionResult;
  /** Always `application/json`. */
  datacontenttype: 'application/json';
  /**
   * The same for every publication of the same event, so readers can drop repeats. The id of a refused message
   * begins with `refused/` and is made from the whole message, so it is never the end of a run.
   */
  id: string;
  /** The source: `/longshore/{namespace}/segments/{n}`. */
  source: string;
  /** Always `1.0`. */
  specversion: '1.0';
  /** The job's id, as in the payload. Absent if the payload has none. */
  subject?: string;
  /** When it happened. */
  time: string;
  /** The trace of the message that started the run, as W3C Trace Context. */
  traceparent?: string;
  /**
   */
  type: 'longshore.job.result.v1';
}

/** One event, as a CloudEvent. A reader ignores what it does not know: more may come. */
export type Event = StatusEvent | ResultEvent;

/** Which of its two outputs a container wrote to. */
export type LineStream = 'stdout' | 'stderr';

/** One line. */
export interface LiveLine {
  /** The number of the piece that completed it. */
  piece: number;
  /** Its text, with secrets masked. */
  text: string;
  /** When the engine received it: RFC 3339, in UTC with nanoseconds. */
  time: string;
}

/**
 * Lines that a container has just written to one of its outputs. The lines of a container come in order. `from`
 * and `to` count the pieces of output that the engine delivered. If the `from` of a message is beyond the `to` of
 * the message before, lines between them were not sent, for example because nobody listened. Those are in the
 * object store.
 */
export interface LogLines {
  /** The attempt; the first is 1. */
  attempt: number;
  /** The kind of program. */
  entrypoint: Entrypoint;
  /** All lines of earlier pieces were sent, or are in the object store, or will be there within a moment. */
  from: number;
  /** The job. */
  id: JobId;
  /** The lines. There are none in the message that greets a new listener. */
  lines: LiveLine[];
  /** The run. */
  run_id: RunId;
  /** Where the lines were written. */
  stream: LineStream;
  /** As `from`, after these lines. */
  to: number;
}
