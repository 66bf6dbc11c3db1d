import store from 'wasi:config/store@0.2.0-rc.1';
import { resolve } from './rule.js';

export const outputMode = {
  resolve: (context, request) => resolve(context.now, request, store.get('hours'), store.get('utc-offset')),
};
