// Keeps one live stream playing: starts the engine for a mode, notices stalls, starts it again after a failure.
// Knows nothing of rooms or of the page; it is told where the stream is and whether it is live.

import type { Engine, Session, StartEngine } from '../engines/engine.ts';
import { bufferedEnd } from '../engines/engine.ts';
import { backoffMs } from '../lib/backoff.ts';
import type { Problem } from '../lib/messages.ts';
import { nextMode, type Mode } from '../lib/modes.ts';
import { BitrateMeter, FrameMeter } from './meters.ts';

/** `idle`: nothing to play. `retrying`: failed, will be started again. `failed`: given up until the viewer does something. */
export type PlayerState = 'idle' | 'loading' | 'playing' | 'buffering' | 'paused' | 'retrying' | 'failed';

export interface Stall {
  at_ms: number;
  ms: number;
}

export interface LoggedError {
  at_ms: number;
  fatal: boolean;
  type: string;
  message: string;
}

/** What the page shows about playback, taken twice a second. */
export interface Snapshot {
  mode: Mode | null;
  state: PlayerState;
  latency: number | null;
  /** Is the viewer so far behind that a jump to the live edge is worth offering? */
  behind: boolean;
  buffer: number | null;
  width: number;
  height: number;
  framesPerSecond: number | null;
  codecs: string | null;
  bitrate: number | null;
  decoded: number | null;
  dropped: number | null;
  stalls: number;
  version: string | null;
  problem: Problem | null;
}

const LOADERS: Record<Mode, () => Promise<{ start: StartEngine }>> = {
  hls: () => import('../engines/hls.ts'),
  dash: () => import('../engines/dash.ts'),
  flv: () => import('../engines/flv.ts'),
  native: () => import('../engines/native.ts'),
};

const TICK_MS = 500;
/** A live picture that stands still for this long is nudged over a gap, then started again, in milliseconds. */
const NUDGE_AFTER_MS = 3_000;
const RESTART_AFTER_MS = 9_000;
/** Seconds of playing after which a failure counts as the first one again. */
const SOUND_AFTER_MS = 15_000;
/** Seconds behind the target from which on "go live" is offered. */
const BEHIND_SECONDS = 4;
/** After a stall of this many milliseconds that left the picture so far behind, it goes live by itself. */
const LONG_STALL_MS = 1_000;
const KEPT_ENTRIES = 100;

export class Player {
  readonly video: HTMLVideoElement;
  readonly stalls: Stall[] = [];
  readonly errors: LoggedError[] = [];
  #session: Session;
  #onChange: () => void;
  #sources: ReadonlyMap<Mode, string> = new Map();
  #mode: Mode | null = null;
  #url: string | null = null;
  #engine: Engine | null = null;
  #state: PlayerState = 'idle';
  #problem: Problem | null = null;
  #live = false;
  /** Grows with every start; what an engine of an older start says is not listened to. */
  #generation = 0;
  /** Engines are taken down and put up one after the other on the same element. */
  #queue: Promise<void> = Promise.resolve();
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #unsupported = new Set<Mode>();
  #pausedByViewer = false;
  #stallStart: number | null = null;
  #started = false;
  #lastMoveAt = 0;
  #lastPosition = 0;
  #playingSince = 0;
  #nudged = false;
  #bitrate = new BitrateMeter();
  #frames = new FrameMeter();

  constructor(video: HTMLVideoElement, session: Session, onChange: () => void) {
    this.video = video;
    this.#session = session;
    this.#onChange = onChange;
    video.addEventListener('playing', () => this.#playing());
    video.addEventListener('waiting', () => this.#waiting());
    video.addEventListener('pause', () => this.#changed());
    video.addEventListener('play', () => this.#changed());
    setInterval(() => this.#tick(), TICK_MS);
  }

  get mode(): Mode | null {
    return this.#mode;
  }

  get state(): PlayerState {
    return this.#state;
  }

  get playing(): boolean {
    return this.#state === 'playing';
  }

  /** Says where the stream can be had. The engine that plays goes on as long as its own address stays. */
  setSources(sources: ReadonlyMap<Mode, string>): void {
    this.#sources = sources;
    if (this.#mode !== null && this.#url !== null && sources.get(this.#mode) !== this.#url && this.#live) {
      const mode = sources.has(this.#mode) ? this.#mode : nextMode(sources, this.#unsupported);
      if (mode !== null) this.switchTo(mode);
    }
  }

  /** Says whether the broadcaster is there. A stream that comes back is picked up at once. */
  setLive(live: boolean): void {
    if (live === this.#live) return;
    this.#live = live;
    if (!live) {
      clearTimeout(this.#retryTimer);
    } else if (this.#mode !== null && (this.#state === 'retrying' || this.#state === 'idle')) {
      this.#attempt = 0;
      this.#start(this.#mode);
    } else {
      this.#lastMoveAt = performance.now();
      this.#nudged = false;
    }
  }

  /** Plays by `mode` from now on. */
  switchTo(mode: Mode): void {
    this.#attempt = 0;
    this.#unsupported.delete(mode);
    this.#pausedByViewer = false;
    this.#start(mode);
  }

  /** Takes the player down; nothing plays until `switchTo`. */
  stop(): void {
    this.#generation += 1;
    clearTimeout(this.#retryTimer);
    this.#enqueue(() => this.#tearDown());
    this.#url = null;
    this.#problem = null;
    this.#setState('idle');
  }

  async play(): Promise<void> {
    this.#pausedByViewer = false;
    if (this.#state === 'failed' && this.#mode !== null) {
      this.switchTo(this.#mode);
      return;
    }
    await this.#play();
  }

  pause(): void {
    this.#pausedByViewer = true;
    this.video.pause();
  }

  goLive(): void {
    this.#engine?.goLive();
    void this.play();
  }

  snapshot(): Snapshot {
    const { video } = this;
    const media = this.#engine?.media() ?? { codecs: null, bitrate: null };
    const quality = video.getVideoPlaybackQuality?.();
    const end = bufferedEnd(video);
    return {
      mode: this.#mode,
      state: this.#state,
      latency: this.latency(),
      behind: this.#started && (this.#state === 'paused' || this.#isBehind()),
      buffer: end === null ? null : Math.max(0, end - video.currentTime),
      width: video.videoWidth,
      height: video.videoHeight,
      framesPerSecond: this.#frames.perSecond,
      codecs: media.codecs,
      bitrate: this.#bitrate.bitsPerSecond ?? media.bitrate,
      decoded: quality?.totalVideoFrames ?? null,
      dropped: quality?.droppedVideoFrames ?? null,
      stalls: this.stalls.length,
      version: this.#engine?.version ?? null,
      problem: this.#problem,
    };
  }

  /** Seconds behind live as the engine tells; null while nothing plays. */
  latency(): number | null {
    return this.#started ? (this.#engine?.latency() ?? null) : null;
  }

  #isBehind(): boolean {
    const latency = this.latency();
    return latency !== null && latency > (this.#engine?.targetLatency() ?? 2) + BEHIND_SECONDS;
  }

  #enqueue(step: () => Promise<void>): void {
    this.#queue = this.#queue.then(step).catch((error: unknown) => this.#log(true, 'page', String(error)));
  }

  async #tearDown(): Promise<void> {
    const engine = this.#engine;
    this.#engine = null;
    await engine?.destroy();
  }

  #start(mode: Mode): void {
    const url = this.#sources.get(mode);
    if (url === undefined) return;
    clearTimeout(this.#retryTimer);
    this.#generation += 1;
    const generation = this.#generation;
    this.#mode = mode;
    this.#url = url;
    this.#problem = null;
    this.#started = false;
    this.#stallStart = null;
    this.#nudged = false;
    this.#lastMoveAt = performance.now();
    this.#bitrate.reset();
    this.#frames.reset();
    this.#setState('loading');
    const current = () => generation === this.#generation;
    this.#enqueue(async () => {
      await this.#tearDown();
      if (!current()) return;
      try {
        const { start } = await LOADERS[mode]();
        if (!current()) return;
        this.#engine = await start(this.video, url, this.#session, {
          failed: (problem) => {
            if (current()) this.#failed(problem);
          },
          warned: (problem) => {
            if (current()) this.#log(false, problem.kind, problem.detail);
          },
        });
      } catch (error) {
        if (current()) this.#failed({ kind: 'network', detail: `the player could not be loaded: ${String(error)}` });
        return;
      }
      if (current() && !this.#pausedByViewer) await this.#play();
    });
  }

  /** Plays with sound where the browser lets it, else muted: a picture without sound is better than none. */
  async #play(): Promise<void> {
    try {
      await this.video.play();
    } catch (error) {
      if ((error as DOMException).name !== 'NotAllowedError' || this.video.muted) return;
      this.video.muted = true;
      await this.video.play().catch(() => this.#changed());
    }
  }

  #failed(problem: Problem): void {
    const hopeless = problem.kind === 'unsupported';
    if (hopeless && this.#mode !== null) this.#unsupported.add(this.#mode);
    const other = hopeless ? nextMode(this.#sources, this.#unsupported) : null;
    this.#log(hopeless && other === null, problem.kind, problem.detail);
    if (other !== null) {
      this.#start(other);
      return;
    }
    this.#problem = problem;
    if (hopeless) {
      this.#generation += 1;
      this.#enqueue(() => this.#tearDown());
      this.#setState('failed');
      return;
    }
    this.#setState('retrying');
    clearTimeout(this.#retryTimer);
    if (!this.#live) return;
    const generation = this.#generation;
    const wait = backoffMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => {
      if (generation === this.#generation && this.#mode !== null) this.#start(this.#mode);
    }, wait);
  }

  #playing(): void {
    const now = performance.now();
    if (!this.#started) this.#playingSince = now;
    this.#started = true;
    this.#endStall(now);
    this.#lastMoveAt = now;
    this.#problem = null;
    this.#setState('playing');
  }

  #waiting(): void {
    if (!this.#started || this.#state === 'retrying' || this.video.paused) return;
    this.#stallStart ??= performance.now();
    this.#setState('buffering');
  }

  #endStall(now: number): void {
    if (this.#stallStart === null) return;
    const ms = now - this.#stallStart;
    this.stalls.push({ at_ms: Math.round(this.#stallStart), ms: Math.round(ms) });
    if (this.stalls.length > KEPT_ENTRIES) this.stalls.shift();
    this.#stallStart = null;
    if (ms > LONG_STALL_MS && this.#isBehind()) this.#engine?.goLive();
  }

  #changed(): void {
    if (this.#state === 'retrying' || this.#state === 'failed' || this.#state === 'idle') return;
    if (this.video.paused && this.#started) this.#setState('paused');
    else if (!this.video.paused && this.#state === 'paused') this.#setState('buffering');
    else this.#onChange();
  }

  #tick(): void {
    const { video } = this;
    const now = performance.now();
    this.#bitrate.sample(video);
    this.#frames.sample(video, now);
    if (video.currentTime !== this.#lastPosition) {
      this.#lastPosition = video.currentTime;
      this.#lastMoveAt = now;
      this.#nudged = false;
      // Some browsers do not say "playing" after a short wait.
      if (this.#started && !video.paused && video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && this.#state === 'buffering') this.#playing();
      if (this.#state === 'playing' && now - this.#playingSince > SOUND_AFTER_MS) this.#attempt = 0;
    } else if (this.#live && !video.paused && (this.#state === 'playing' || this.#state === 'buffering' || this.#state === 'loading')) {
      this.#standsStill(now - this.#lastMoveAt);
    }
    this.#onChange();
  }

  #standsStill(ms: number): void {
    if (ms > RESTART_AFTER_MS) {
      this.#failed({ kind: 'network', detail: `the picture stood still for ${Math.round(ms / 1000)} s` });
    } else if (ms > NUDGE_AFTER_MS && !this.#nudged) {
      this.#nudged = true;
      const { buffered, currentTime } = this.video;
      for (let index = 0; index < buffered.length; index += 1) {
        if (buffered.start(index) > currentTime) {
          this.#log(false, 'gap', `jumped from ${currentTime.toFixed(2)} to ${buffered.start(index).toFixed(2)}`);
          this.video.currentTime = buffered.start(index) + 0.05;
          return;
        }
      }
      this.#log(false, 'gap', `went live from ${currentTime.toFixed(2)}, where nothing came any more`);
      this.#engine?.goLive();
    }
  }

  #setState(state: PlayerState): void {
    this.#state = state;
    this.#onChange();
  }

  #log(fatal: boolean, type: string, message: string): void {
    this.errors.push({ at_ms: Math.round(performance.now()), fatal, type, message });
    if (this.errors.length > KEPT_ENTRIES) this.errors.shift();
  }
}
