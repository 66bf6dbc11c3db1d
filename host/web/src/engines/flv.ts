// HTTP-FLV by mpegts.js.

import mpegts from 'mpegts.js';
import { withCmcd } from '../lib/cmcd.ts';
import type { Problem } from '../lib/messages.ts';
import { bufferedEnd, kindOfStatus, type StartEngine } from './engine.ts';

/** Seconds of buffer that playback is steered to. */
const TARGET_SECONDS = 0.8;

/** What is played when the viewer lags behind by more than this many seconds is skipped, not played faster. */
const SKIP_BEHIND_SECONDS = 8;

function problemOf(type: string, detail: string, info: { code?: number; msg?: string } | undefined): Problem {
  const { ErrorDetails, ErrorTypes } = mpegts;
  const text = `${type}/${detail}${info?.code ? ` (${info.code})` : ''}: ${info?.msg ?? ''}`;
  if (detail === ErrorDetails.NETWORK_STATUS_CODE_INVALID) return { kind: kindOfStatus(Number(info?.code)), detail: text };
  if (detail === ErrorDetails.NETWORK_UNRECOVERABLE_EARLY_EOF) return { kind: 'ended', detail: text };
  if (type === ErrorTypes.NETWORK_ERROR) return { kind: 'network', detail: text };
  const hopeless = detail === ErrorDetails.MEDIA_CODEC_UNSUPPORTED || detail === ErrorDetails.MEDIA_FORMAT_UNSUPPORTED;
  return { kind: hopeless ? 'unsupported' : 'media', detail: text };
}

export const start: StartEngine = async (video, url, session, events) => {
  mpegts.LoggingControl.applyConfig({ enableAll: false });
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: true, url: withCmcd(url, session.sessionId, session.contentId, 'o') },
    {
      enableStashBuffer: false,
      lazyLoad: false,
      liveSync: true,
      liveSyncMaxLatency: 1.4,
      liveSyncTargetLatency: TARGET_SECONDS,
      liveSyncPlaybackRate: 1.1,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 60,
      autoCleanupMinBackwardDuration: 30,
    },
  );
  player.on(mpegts.Events.ERROR, (type: string, detail: string, info?: { code?: number; msg?: string }) => events.failed(problemOf(type, detail, info)));
  player.on(mpegts.Events.LOADING_COMPLETE, () => events.failed({ kind: 'ended', detail: 'the server ended the FLV stream' }));
  const edge = () => bufferedEnd(video);
  const goLive = () => {
    const end = edge();
    if (end !== null) video.currentTime = Math.max(0, end - TARGET_SECONDS / 2);
  };
  // A tab that slept has a lot of buffer; playing it faster would take minutes.
  const skip = () => {
    const end = edge();
    if (end !== null && document.visibilityState === 'visible' && !video.paused && end - video.currentTime > SKIP_BEHIND_SECONDS) goLive();
  };
  document.addEventListener('visibilitychange', skip);
  player.attachMediaElement(video);
  player.load();

  return {
    version: `mpegts.js ${mpegts.version}`,
    latency() {
      const end = edge();
      return end === null ? null : Math.max(0, end - video.currentTime);
    },
    targetLatency: () => TARGET_SECONDS,
    goLive,
    media() {
      const info = player.mediaInfo as { videoCodec?: string; audioCodec?: string } | undefined;
      const { speed } = player.statisticsInfo as { speed?: number };
      const codecs = [info?.videoCodec, info?.audioCodec].filter(Boolean).join(',');
      return { codecs: codecs || null, bitrate: speed ? speed * 8 * 1024 : null };
    },
    destroy() {
      document.removeEventListener('visibilitychange', skip);
      player.destroy();
    },
  };
};
