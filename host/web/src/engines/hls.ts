// LL-HLS by hls.js.

import Hls, { ErrorDetails, ErrorTypes, Events, type ErrorData } from 'hls.js';
import type { Problem } from '../lib/messages.ts';
import { kindOfStatus, type StartEngine } from './engine.ts';

declare const HLS_WORKER_PATH: string;

/** Decoding errors are repaired in place this often within REPAIR_WINDOW_MS; then the player is started again. */
const MAX_REPAIRS = 2;
const REPAIR_WINDOW_MS = 10_000;

function problemOf(data: ErrorData): Problem {
  const detail = `${data.type}/${data.details}${data.response?.code ? ` (${data.response.code})` : ''}${data.error?.message ? `: ${data.error.message}` : ''}`;
  if (data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR || data.details === ErrorDetails.BUFFER_ADD_CODEC_ERROR) {
    return { kind: 'unsupported', detail };
  }
  if (data.type === ErrorTypes.NETWORK_ERROR) return { kind: data.response?.code ? kindOfStatus(data.response.code) : 'network', detail };
  return { kind: 'media', detail };
}

export const start: StartEngine = async (video, url, session, events) => {
  const hls = new Hls({
    lowLatencyMode: true,
    enableWorker: true,
    workerPath: HLS_WORKER_PATH,
    // Catch up gently after a hiccup instead of staying behind.
    maxLiveSyncPlaybackRate: 1.08,
    liveDurationInfinity: true,
    backBufferLength: 60,
    cmcd: { sessionId: session.sessionId, contentId: session.contentId },
  });
  let repairs: number[] = [];

  hls.on(Events.ERROR, (_, data) => {
    const problem = problemOf(data);
    if (!data.fatal) {
      events.warned(problem);
      return;
    }
    const now = performance.now();
    repairs = repairs.filter((at) => now - at < REPAIR_WINDOW_MS);
    if (problem.kind === 'media' && repairs.length < MAX_REPAIRS) {
      if (repairs.length > 0) hls.swapAudioCodec();
      repairs.push(now);
      events.warned(problem);
      hls.recoverMediaError();
      return;
    }
    events.failed(problem);
  });
  hls.attachMedia(video);
  hls.loadSource(url);

  return {
    version: `hls.js ${Hls.version}`,
    latency: () => (hls.latency > 0 ? hls.latency : null),
    targetLatency: () => hls.targetLatency,
    goLive() {
      if (hls.liveSyncPosition !== null) video.currentTime = hls.liveSyncPosition;
    },
    media() {
      const level = hls.levels[hls.currentLevel] ?? hls.levels[0];
      const codecs = [level?.videoCodec, level?.audioCodec].filter(Boolean).join(',');
      return { codecs: codecs || null, bitrate: level?.bitrate ?? null };
    },
    destroy: () => hls.destroy(),
  };
};
