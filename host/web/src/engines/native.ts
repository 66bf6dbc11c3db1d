// HLS by the browser itself: Safari everywhere, and what Chromium has built in.

import { withCmcd } from '../lib/cmcd.ts';
import type { StartEngine } from './engine.ts';

/** Seconds behind the live edge where a jump to live lands; closer makes browsers wait for the next segment. */
const EDGE_SECONDS = 2;

interface WithStartDate extends HTMLVideoElement {
  getStartDate?(): Date;
}

export const start: StartEngine = async (video, url, session, events) => {
  const failed = () => {
    const { error } = video;
    if (!error) return;
    const unsupported = error.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
    const network = error.code === MediaError.MEDIA_ERR_NETWORK;
    events.failed({ kind: unsupported ? 'not-found' : network ? 'network' : 'media', detail: `media element ${error.code}: ${error.message}` });
  };
  video.addEventListener('error', failed);
  video.src = withCmcd(url, session.sessionId, session.contentId, 'h');
  const edge = () => (video.seekable.length > 0 ? video.seekable.end(video.seekable.length - 1) : null);

  return {
    version: 'HLS of the browser',
    latency() {
      // The wall clock of the playlist (EXT-X-PROGRAM-DATE-TIME), where the browser gives it away; else the distance to the edge.
      const startDate = (video as WithStartDate).getStartDate?.().getTime();
      if (startDate !== undefined && Number.isFinite(startDate)) return Math.max(0, (Date.now() - startDate) / 1000 - video.currentTime);
      const end = edge();
      return end === null || !Number.isFinite(end) ? null : Math.max(0, end - video.currentTime);
    },
    targetLatency: () => null,
    goLive() {
      const end = edge();
      if (end !== null && Number.isFinite(end)) video.currentTime = Math.max(0, end - EDGE_SECONDS);
    },
    media: () => ({ codecs: null, bitrate: null }),
    destroy() {
      video.removeEventListener('error', failed);
      video.removeAttribute('src');
      video.load();
    },
  };
};
