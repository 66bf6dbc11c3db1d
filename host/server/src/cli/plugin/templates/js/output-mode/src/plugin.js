import { resolve } from './rule.js';

export const outputMode = { resolve };
