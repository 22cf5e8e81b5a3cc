// Validates schemas/asyncapi.yaml with the official parser of AsyncAPI.

import { resolve } from 'node:path';
import { argv, exit } from 'node:process';
import { fromFile, Parser } from '@asyncapi/parser';

const file = resolve(argv[2]);
const { document, diagnostics } = await fromFile(new Parser(), file).parse();
// 0 is an error, 1 a warning. Others are advice, such as to name a contact.
const found = diagnostics.filter(({ severity }) => severity <= 1);
for (const { severity, path, message } of found) {
  console.error(`${severity === 0 ? 'error' : 'warning'} ${path.join('.')}: ${message}`);
}
if (!document || found.length > 0) exit(1);
console.log(`ok    ${argv[2]}: ${document.channels().length} channels, ${document.allMessages().length} messages`);
