// Fetches npm for an image that has Node.js without it. The version is pinned by its hash.

import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';

const VERSION = '10.9.4';
const SHA512 = 'OnUG836FwboQIbqtefDNlyR0gTHzIfwRfE3DuiNewBvnMnWEpB0VEXwBlFVgqpNzIgYo/MHh3d2Hel/pszapAA==';

const registry = process.env.NPM_CONFIG_REGISTRY ?? 'https://registry.npmjs.org/';
const from = new URL(`npm/-/npm-${VERSION}.tgz`, registry.endsWith('/') ? registry : `${registry}/`);
const answer = await fetch(from);
if (!answer.ok) throw new Error(`${from} answered ${answer.status}`);
const archive = Buffer.from(await answer.arrayBuffer());
const found = createHash('sha512').update(archive).digest('base64');
if (found !== SHA512) throw new Error(`${from} is not npm ${VERSION}`);
writeFileSync('/work/tmp/npm.tgz', archive);
