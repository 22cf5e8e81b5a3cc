// Where broker and store are: the settings that the worker and the command line have, too.

import { SettingsError } from './errors.js';

const VARIABLES = {
  amqpUrl: 'AMQP_URL',
  amqpCaFile: 'AMQP_CA_FILE',
  amqpClientCertFile: 'AMQP_CLIENT_CERT_FILE',
  amqpClientKeyFile: 'AMQP_CLIENT_KEY_FILE',
  namespace: 'AMQP_NAMESPACE',
  storeEndpoint: 'MINIO_ENDPOINT',
  storeAccessKey: 'MINIO_ACCESS_KEY',
  storeSecretKey: 'MINIO_SECRET_KEY',
  storeSsl: 'MINIO_SSL',
  storeCaFile: 'MINIO_CA_FILE',
  storeRegion: 'MINIO_REGION',
  codeBucket: 'MINIO_CODE_BUCKET',
  inputsBucket: 'MINIO_INPUTS_BUCKET',
  resultsBucket: 'MINIO_BACKTESTS_BUCKET',
  logsBucket: 'MINIO_LOGS_BUCKET',
  stateBucket: 'MINIO_STATE_BUCKET',
} as const;

type Texts = { -readonly [name in keyof typeof VARIABLES]: string };

/**
 * Where broker and store are, and how the names on them begin. A setting that is missing is reported when it is needed.
 */
export interface Settings extends Texts {
  /** Seconds for which a call keeps trying while the broker cannot be reached. */
  patienceSeconds: number;
}

const DEFAULTS: Settings = {
  amqpUrl: '',
  amqpCaFile: '',
  amqpClientCertFile: '',
  amqpClientKeyFile: '',
  namespace: 'longshore',
  storeEndpoint: '',
  storeAccessKey: '',
  storeSecretKey: '',
  storeSsl: 'false',
  storeCaFile: '',
  storeRegion: 'us-east-1',
  codeBucket: 'custom-bots',
  inputsBucket: 'inputs',
  resultsBucket: 'test-results',
  logsBucket: 'bot-logs',
  stateBucket: 'longshore-state',
  patienceSeconds: 60,
};

/** The settings of the environment. An empty variable counts as not set. */
export function settingsFromEnvironment(
  environment: Record<string, string | undefined> = process.env,
): Settings {
  const found: Settings = { ...DEFAULTS };
  for (const [name, variable] of Object.entries(VARIABLES) as [keyof Texts, string][]) {
    const value = environment[variable];
    if (value) found[name] = value;
  }
  return found;
}

/** Throws for settings that are not set. */
export function required(settings: Settings, ...names: (keyof Texts)[]): void {
  const missing = names.filter((name) => !settings[name]).map((name) => VARIABLES[name]);
  if (missing.length === 0) return;
  const verb = missing.length === 1 ? 'is' : 'are';
  throw new SettingsError(`${missing.join(', ')} ${verb} not set, in the environment or in new Client({…})`);
}

/** The endpoint of the store with its scheme. */
export function storeUrl(settings: Settings): string {
  const { storeEndpoint, storeSsl } = settings;
  if (storeEndpoint.includes('://')) return storeEndpoint;
  return `${storeSsl === 'true' ? 'https' : 'http'}://${storeEndpoint}`;
}
