// What the page asks of a player library. Each library sits behind this in a file of its own, loaded only when it is used.

import type { Problem } from '../lib/messages.ts';

/** What the player tells the page of its own accord. */
export interface EngineEvents {
  /** The player can't go on and must be started again, or given up when the kind is `unsupported`. */
  failed(problem: Problem): void;
  /** Something went wrong that the player repairs by itself. */
  warned(problem: Problem): void;
}

/** Who is watching what; sent as CMCD, so that the server can count viewers and stalls. */
export interface Session {
  sessionId: string;
  contentId: string;
}

/** What is being played. */
export interface MediaInfo {
  /** RFC 6381 codecs separated by commas. */
  codecs: string | null;
  /** Bits per second, as the stream declares them or the player measures them. */
  bitrate: number | null;
}

export interface Engine {
  /** Name and version of the player library. */
  readonly version: string;
  /** Seconds behind live, as the player sees it. */
  latency(): number | null;
  /** The latency that the player steers for, in seconds. */
  targetLatency(): number | null;
  /** Jumps to the live edge. */
  goLive(): void;
  media(): MediaInfo;
  /** Lets go of the video element and of every connection. */
  destroy(): Promise<void> | void;
}

/** Attaches a player to the element and starts loading. Playing is up to the caller. */
export type StartEngine = (video: HTMLVideoElement, url: string, session: Session, events: EngineEvents) => Promise<Engine>;

/** The end of what is buffered at or after the position, or null. */
export function bufferedEnd(video: HTMLVideoElement): number | null {
  const { buffered } = video;
  return buffered.length > 0 ? buffered.end(buffered.length - 1) : null;
}

/** The kind of problem behind an HTTP status. */
export function kindOfStatus(status: number): Problem['kind'] {
  if (status === 404 || status === 410 || status === 204) return 'not-found';
  return status === 401 || status === 403 ? 'forbidden' : 'network';
}
