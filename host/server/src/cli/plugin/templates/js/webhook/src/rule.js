/** Tells in words when a room goes live. Everything else is left to the next plugin. */
export function deliver(event, urls) {
  if (event.kind !== 'videoRoom.live' || !event.roomId) return { tag: 'abstain' };
  const delivery = {
    method: 'post',
    headers: [{ name: 'content-type', value: 'text/plain; charset=utf-8' }],
    body: ascii(`Room ${event.roomId} is live.`),
    sign: true,
    timeout: null,
  };
  const each = (urls ?? '').split('\n').filter((url) => url !== '');
  return { tag: 'deliver', val: each.map((url) => ({ ...delivery, url })) };
}

/** What comes of an attempt. */
export function attempted({ outcome }) {
  if (outcome.tag === 'failed') return { tag: 'retry-after', val: null };
  const { status, retryAfter } = outcome.val;
  if (status >= 200 && status < 300) return { tag: 'done' };
  if (status === 410) return { tag: 'give-up', val: 'The receiver answered 410 Gone.' };
  return { tag: 'retry-after', val: retryAfter };
}

/** The bytes of a text. */
function ascii(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
