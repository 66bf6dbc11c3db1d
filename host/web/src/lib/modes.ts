// The ways in which a page can play a room, and the choice among them.

import type { RoomUrls } from './api.ts';

/** A way to play: LL-HLS by hls.js, DASH by shaka-player, HTTP-FLV by mpegts.js, HLS by the browser itself. */
export type Mode = 'hls' | 'dash' | 'flv' | 'native';

/** What this browser can do. */
export interface Support {
  /** Media Source Extensions, managed ones included: what every JavaScript player needs. */
  mse: boolean;
  /** HTTP-FLV needs the classic MediaSource and streaming fetch. */
  flv: boolean;
  nativeHls: boolean;
}

export interface ModeInfo {
  label: string;
  /** One line for people who wonder which one to take. */
  hint: string;
}

export const MODES: Record<Mode, ModeInfo> = {
  hls: { label: 'LL-HLS', hint: 'Low-latency HLS, played by hls.js' },
  dash: { label: 'DASH', hint: 'Low-latency MPEG-DASH, played by shaka-player' },
  flv: { label: 'HTTP-FLV', hint: 'HTTP-FLV, played by mpegts.js: the least delay' },
  native: { label: 'Browser HLS', hint: 'HLS, played by the browser itself' },
};

/** The order in which modes are offered and tried. */
const ORDER: readonly Mode[] = ['hls', 'dash', 'flv', 'native'];

/** What the browser can do, asked once. */
export function detectSupport(video: HTMLVideoElement): Support {
  const scope = globalThis as { MediaSource?: unknown; ManagedMediaSource?: unknown };
  return {
    mse: Boolean(scope.MediaSource ?? scope.ManagedMediaSource),
    flv: Boolean(scope.MediaSource) && 'ReadableStream' in globalThis,
    nativeHls: video.canPlayType('application/vnd.apple.mpegurl') !== '',
  };
}

/** The address to play for each mode that both the room and the browser have, in the order to offer them. */
export function sourcesFor(urls: RoomUrls, support: Support): Map<Mode, string> {
  const url: Record<Mode, string | undefined> = {
    hls: support.mse ? urls.hls : undefined,
    dash: support.mse ? urls.dash : undefined,
    flv: support.flv ? urls.httpFlv : undefined,
    native: support.nativeHls ? urls.hls : undefined,
  };
  const sources = new Map<Mode, string>();
  for (const mode of ORDER) {
    const address = url[mode];
    if (address !== undefined) sources.set(mode, address);
  }
  return sources;
}

/** The mode to start with: what was asked for if it is there, else the first one. */
export function pickMode(sources: ReadonlyMap<Mode, string>, wanted: string | null): Mode | null {
  for (const mode of sources.keys()) if (mode === wanted) return mode;
  return sources.keys().next().value ?? null;
}

/** The mode to try after `failed` ones, or null when none is left. */
export function nextMode(sources: ReadonlyMap<Mode, string>, failed: ReadonlySet<Mode>): Mode | null {
  for (const mode of sources.keys()) if (!failed.has(mode)) return mode;
  return null;
}
