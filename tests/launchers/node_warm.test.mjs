// All tests of the launcher, once more with one that was started before its job came.

import { waiting } from './support.mjs';

waiting.isWarm = true;
await import('./node_launcher.test.mjs');
await import('./node_programs.test.mjs');
