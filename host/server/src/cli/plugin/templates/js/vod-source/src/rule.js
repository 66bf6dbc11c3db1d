const SCHEME = 'show://';

/** `show://NAME` is the file `shows/NAME.mp4` in the media directory. Everything else is left to the next plugin. */
export function open(uri) {
  if (!uri.startsWith(SCHEME)) throw { tag: 'not-mine' };
  const name = uri.slice(SCHEME.length);
  if (!/^[a-z0-9-]+$/.test(name)) {
    throw { tag: 'invalid', val: `${name.slice(0, 200)} is no show: its name has lower-case letters, digits and hyphens.` };
  }
  return { tag: 'file', val: { path: `shows/${name}.mp4` } };
}

/** All shows. */
export function list(uri) {
  if (uri !== SCHEME) throw { tag: 'not-mine' };
  return { tag: 'place', val: { tag: 'file', val: { path: 'shows' } } };
}
