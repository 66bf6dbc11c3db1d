// Low-latency DASH by shaka-player (the build that knows DASH only).

import shaka from 'shaka-player/dist/shaka-player.dash-es2021.js';
import type { Problem } from '../lib/messages.ts';
import { kindOfStatus, type StartEngine } from './engine.ts';

/** Where playback starts behind the live edge when the manifest does not say, in seconds. */
const DEFAULT_DELAY_SECONDS = 2;

function problemOf(error: shaka.util.Error): Problem {
  const { Category, Code } = shaka.util.Error;
  const detail = `shaka ${error.code}: ${error.message} ${JSON.stringify(error.data ?? [])}`.slice(0, 300);
  if (error.code === Code.BAD_HTTP_STATUS) return { kind: kindOfStatus(Number(error.data?.[1])), detail };
  if (error.category === Category.NETWORK) return { kind: 'network', detail };
  // A manifest without anything in it, or one that is not there yet, comes as a manifest error too: worth another try.
  const hopeless = error.code === Code.CONTENT_UNSUPPORTED_BY_BROWSER || error.code === Code.NO_VARIANTS;
  return { kind: hopeless ? 'unsupported' : 'media', detail };
}

export const start: StartEngine = async (video, url, session, events) => {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  let destroyed = false;
  const tell = (error: shaka.util.Error) => {
    if (destroyed) return;
    if (error.severity === shaka.util.Error.Severity.CRITICAL) events.failed(problemOf(error));
    else events.warned(problemOf(error));
  };
  player.addEventListener('error', (event) => tell((event as unknown as { detail: shaka.util.Error }).detail));
  await player.attach(video);
  player.configure({
    // The target of the latency and the playback rates come from the manifest's ServiceDescription.
    streaming: { lowLatencyMode: true, bufferBehind: 60, rebufferingGoal: 0.1 },
    manifest: { defaultPresentationDelay: DEFAULT_DELAY_SECONDS },
    cmcd: { enabled: true, sessionId: session.sessionId, contentId: session.contentId },
  });
  // Not awaited: the page may be left, or another format chosen, while a manifest does not come.
  player.load(url).catch((error: unknown) => {
    if (error instanceof shaka.util.Error) {
      if (error.code !== shaka.util.Error.Code.LOAD_INTERRUPTED) tell(error);
    } else if (!destroyed) {
      events.failed({ kind: 'media', detail: String(error) });
    }
  });

  return {
    version: `shaka-player ${shaka.Player.version.replace(/^v/, '')}`,
    latency() {
      const { liveLatency } = player.getStats();
      return Number.isFinite(liveLatency) && liveLatency > 0 ? liveLatency : null;
    },
    targetLatency: () => null,
    goLive: () => player.goToLive(),
    media() {
      const variant = player.getVariantTracks().find((track) => track.active);
      const codecs = [variant?.videoCodec, variant?.audioCodec].filter(Boolean).join(',');
      return { codecs: codecs || variant?.codecs || null, bitrate: variant?.bandwidth ?? null };
    },
    async destroy() {
      destroyed = true;
      await player.destroy();
    },
  };
};
