// The types of Longshore's messages, generated from its schemas by clients/generate.py.

/** How many artifacts there may be. By default, and at most, what the worker's settings say. */
export interface ArtifactsRequest {
  /** Files. */
  max_files?: number | null;
  /** What they may hold together, in MiB. They lie in the container's memory until it ends. */
  max_mb?: number | null;
}

/** The two kinds of program. The kind is also the name of the code's directory. */
export type Entrypoint = 'bot' | 'backtest';

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

/** What a job's script runs in. */
export type Runtime = 'python3.11' | 'nodejs20';

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
  /** The language and its version. */
  runtime: Runtime;
  /**
   * What must not be seen in logs, results and events: names of variables in `env`, and places of texts in
   * `config` as JSON Pointers, such as `/exchange/api_key`. Each text must have 4 to 8,192 bytes.
   */
  secrets?: string[];
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
  /** How the run ended. Absent only while it runs. */
  verdict?: Verdict;
  /** The name of the worker. */
  worker: string;
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
  /** The daily logs, in the logs bucket. */
  log_keys?: string[];
  /** The whole output of a terminating run, in the results bucket. */
  output_key?: string;
  /** The whole result.json, in the results bucket. */
  result_key?: string;
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
