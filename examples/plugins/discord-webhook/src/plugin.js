import store from 'wasi:config/store@0.2.0-rc.1';
import { attempted, deliver } from './rule.js';

export const webhook = {
  deliver: (context, event) => deliver(context, event, store.get('webhook-url')),
  attempted: (context, event, delivery, attempt) => attempted(attempt),
};
