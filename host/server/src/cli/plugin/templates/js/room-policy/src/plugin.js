import { decide } from './rule.js';

export const roomPolicy = { decide };
