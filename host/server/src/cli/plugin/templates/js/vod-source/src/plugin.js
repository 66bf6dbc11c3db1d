import { list, open } from './rule.js';

export const vodSource = {
  open: (context, request) => open(request.uri),
  // The host looks where `open` points.
  stat: (context, request) => (open(request.uri), null),
  list: (context, request) => list(request.uri),
  // It is asked only about plans with bytes of the plugin's own. A result's error is thrown.
  read: () => { throw { tag: 'not-mine' }; },
};
