/** What is said about which event, with the colour of its bar. */
const MESSAGES = {
  'videoRoom.live': ['is live', 0x2ecc71],
  'videoRoom.inactive': ['has paused', 0xf1c40f],
  'videoRoom.ended': ['has ended', 0x95a5a6],
  'videoRoom.archived': ['can be watched again', 0x3498db],
  'videoRoom.archiveFailed': ['could not be archived', 0xe74c3c],
};

/** A message for the channel whose webhook URL is set; other events are told to nobody. */
export function deliver(context, event, url) {
  const message = MESSAGES[event.kind];
  if (!url || !message) return { tag: 'deliver', val: [] };
  const [what, color] = message;
  const body = JSON.stringify({
    embeds: [{
      title: `Room ${event.roomId} ${what}`,
      color,
      timestamp: new Date(event.time).toISOString(),
      footer: { text: context.app.name },
    }],
  });
  return {
    tag: 'deliver',
    val: [{
      method: 'post',
      url,
      headers: [{ name: 'content-type', value: 'application/json' }],
      body: utf8(body),
      // Discord does not check signatures.
      sign: false,
      timeout: null,
    }],
  };
}

/** What comes of an attempt. Discord answers 429 with the seconds to wait in its body. */
export function attempted({ outcome }) {
  if (outcome.tag === 'failed') return { tag: 'retry-after', val: null };
  const { status, retryAfter, body } = outcome.val;
  if (status >= 200 && status < 300) return { tag: 'done' };
  if (status === 429) return { tag: 'retry-after', val: secondsInBody(body) ?? retryAfter };
  if (status >= 500) return { tag: 'retry-after', val: retryAfter };
  return { tag: 'give-up', val: `Discord answered ${status}: is the setting "webhook-url" right?` };
}

/** `retry_after` of the answer in milliseconds, or null. */
function secondsInBody(body) {
  try {
    const seconds = JSON.parse(Array.from(body, (byte) => String.fromCharCode(byte)).join('')).retry_after;
    return Number.isFinite(seconds) && seconds >= 0 ? Math.ceil(seconds * 1000) : null;
  } catch {
    return null;
  }
}

/** The bytes of a text. */
function utf8(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (character) => character.charCodeAt(0));
}
