import store from 'wasi:config/store@0.2.0-rc.1';
import { attempted, deliver } from './rule.js';

export const webhook = {
  // The setting holds the addresses of the App's webhook, one in a line.
  deliver: (context, event) => deliver(event, store.get('urls')),
  attempted: (context, event, delivery, attempt) => attempted(attempt),
};
