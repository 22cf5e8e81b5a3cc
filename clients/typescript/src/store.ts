// The object store, and what is read from it.

import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import {
  GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client, S3ServiceException,
} from '@aws-sdk/client-s3';
import type { Code } from './code.js';
import { LongshoreError, NotEnded, Refused, Unavailable, UnknownJob } from './errors.js';
import type { ResultEvent } from './models.js';
import { Result } from './result.js';
import { required, type Settings, storeUrl } from './settings.js';

const ATTEMPTS = 5;
const CONNECT_MS = 10_000;
const REQUEST_MS = 60_000;

/** There is no such object. */
export class Missing extends Error {}

/** The buckets of Longshore. Nothing is connected before the first request. */
export class Store {
  #s3: S3Client | undefined;

  constructor(readonly settings: Settings) {}

  #client(): S3Client {
    const settings = this.settings;
    required(settings, 'storeEndpoint', 'storeAccessKey', 'storeSecretKey');
    const { storeCaFile } = settings;
    this.#s3 ??= new S3Client({
      endpoint: storeUrl(settings),
      region: settings.storeRegion,
      credentials: { accessKeyId: settings.storeAccessKey, secretAccessKey: settings.storeSecretKey },
      forcePathStyle: true,
      maxAttempts: ATTEMPTS,
      // Stores other than AWS do not all know the newer checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        requestTimeout: REQUEST_MS,
        ...(storeCaFile ? { httpsAgent: new Agent({ ca: readFileSync(storeCaFile) }) } : {}),
      },
    });
    return this.#s3;
  }

  async #ask<T>(bucket: string, key: string, ask: (s3: S3Client) => Promise<T>): Promise<T> {
    try {
      return await ask(this.#client());
    } catch (error) {
      if (error instanceof LongshoreError) throw error;
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
      const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      if (status === 404) throw new Missing(`there is no object ${key} in the bucket ${bucket}`);
      if (status !== undefined && status < 500) {
        throw new Refused(`the store refused ${key} in ${bucket}: ${why} (see MINIO_ACCESS_KEY)`);
      }
      throw new Unavailable(`the store at ${storeUrl(this.settings)} does not answer for ${key} in ${bucket}: ${why}`);
    }
  }

  /** An object as text. Throws Missing. */
  async get(bucket: string, key: string): Promise<string> {
    return new TextDecoder().decode(await this.getBytes(bucket, key));
  }

  /** An object. Throws Missing. */
  async getBytes(Bucket: string, Key: string): Promise<Uint8Array> {
    return this.#ask(Bucket, Key, async (s3) => {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
      return (await Body?.transformToByteArray()) ?? new Uint8Array();
    });
  }

  /** Stores code, unless it is there already. */
  async upload({ body: Body, key: Key }: Code): Promise<void> {
    const Bucket = this.settings.codeBucket;
    try {
      await this.#ask(Bucket, Key, (s3) => s3.send(new HeadObjectCommand({ Bucket, Key })));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      const put = new PutObjectCommand({ Bucket, Key, Body, ContentType: 'application/zip' });
      await this.#ask(Bucket, Key, (s3) => s3.send(put));
    }
  }

  /** Stores data with its hash, unless the store has the same bytes under the key. */
  async putData(Key: string, Body: Uint8Array, sha256: string): Promise<void> {
    const Bucket = this.settings.inputsBucket;
    try {
      const there = await this.#ask(Bucket, Key, (s3) => s3.send(new HeadObjectCommand({ Bucket, Key })));
      if (there.Metadata?.sha256 === sha256 && there.ContentLength === Body.length) return;
    } catch (error) {
      // A key of a publisher may write and not read.
      if (!(error instanceof Missing || error instanceof Refused)) throw error;
    }
    const put = new PutObjectCommand({ Bucket, Key, Body, Metadata: { sha256 } });
    await this.#ask(Bucket, Key, (s3) => s3.send(put));
  }

  /** The keys that begin like this. */
  async list(Bucket: string, Prefix: string): Promise<string[]> {
    const keys: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await this.#ask(Bucket, Prefix, (s3) =>
        s3.send(new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken })),
      );
      for (const { Key } of page.Contents ?? []) if (Key) keys.push(Key);
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (ContinuationToken);
    return keys;
  }

  /** How the latest run of a job, or this run of it, ended: from the journal. */
  async result(id: string, runId?: string): Promise<Result> {
    const { stateBucket, namespace } = this.settings;
    const record = await this.#json<{ run_id: string; state: string; result?: ResultEvent }>(
      stateBucket,
      `${namespace}/jobs/${id}.json`,
    );
    if (record && (runId === undefined || runId === record.run_id)) {
      if (record.state !== 'finished' || !record.result) throw new NotEnded(`${id} has not ended yet`);
      return this.withValue(record.result);
    }
    const end = await this.#json<{ event: ResultEvent }>(stateBucket, `${namespace}/ended/${id}/${runId}.json`);
    if (end) return new Result(end.event);
    const what = runId === undefined ? `run of ${id}` : `run ${runId} of ${id}`;
    throw new UnknownJob(`the journal knows no ${what} in the namespace ${namespace}`);
  }

  /** The result with what the code returned, which is in the store if it was too large for the event. */
  async withValue(event: ResultEvent): Promise<Result> {
    const key = event.data.objects?.result_key;
    if (event.data.result !== undefined || key === undefined) return new Result(event);
    return new Result(event, await this.#json(this.settings.resultsBucket, key));
  }

  async #json<T>(bucket: string, key: string): Promise<T | undefined> {
    try {
      return JSON.parse(await this.get(bucket, key)) as T;
    } catch (error) {
      if (error instanceof Missing) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#s3?.destroy();
  }
}
