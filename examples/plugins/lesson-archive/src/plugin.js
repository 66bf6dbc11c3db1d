import store from 'wasi:config/store@0.2.0-rc.1';
import { list, open } from './rule.js';

const settings = () => ({ bucket: store.get('bucket'), endpoint: store.get('endpoint'), region: store.get('region'), credential: store.get('credential') });

export const vodSource = {
  open: (context, request) => open(request.uri, settings()),
  // The host looks where `open` points.
  stat: (context, request) => (open(request.uri, settings()), null),
  list: (context, request) => list(request.uri, settings()),
  read: () => { throw { tag: 'not-mine' }; },
};
