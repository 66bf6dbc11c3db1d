// Measures what the browser tells about playback: bits decoded per second of media, and frames per second.

interface ByteCounts extends HTMLVideoElement {
  webkitVideoDecodedByteCount?: number;
  webkitAudioDecodedByteCount?: number;
}

/** Seconds of media over which a bitrate is taken. */
const WINDOW_SECONDS = 5;

/** Bits per second of media, from the bytes that were decoded; not every browser counts them. */
export class BitrateMeter {
  #samples: { position: number; bytes: number }[] = [];

  reset(): void {
    this.#samples = [];
  }

  sample(video: HTMLVideoElement): void {
    const { webkitVideoDecodedByteCount: picture, webkitAudioDecodedByteCount: sound } = video as ByteCounts;
    if (picture === undefined && sound === undefined) return;
    this.add(video.currentTime, (picture ?? 0) + (sound ?? 0));
  }

  /** Takes a sample: a position in seconds and the bytes decoded up to there. */
  add(position: number, bytes: number): void {
    const last = this.#samples.at(-1);
    // After a seek or a new source the counts no longer belong together.
    if (last && (position < last.position || position - last.position > 3 || bytes < last.bytes)) this.reset();
    if (last?.position === position) return;
    this.#samples.push({ position, bytes });
    while (this.#samples.length > 2 && position - (this.#samples[0]?.position ?? position) > WINDOW_SECONDS) this.#samples.shift();
  }

  /** Null until two seconds have been seen. */
  get bitsPerSecond(): number | null {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.position - first.position < 2 || last.bytes <= first.bytes) return null;
    return (8 * (last.bytes - first.bytes)) / (last.position - first.position);
  }
}

/** Frames per second that were decoded, over the last seconds. */
export class FrameMeter {
  #samples: { at: number; frames: number }[] = [];

  reset(): void {
    this.#samples = [];
  }

  sample(video: HTMLVideoElement, now: number): void {
    const frames = video.getVideoPlaybackQuality?.().totalVideoFrames;
    if (frames !== undefined) this.add(now, frames);
  }

  /** Takes a sample: a time in milliseconds and the frames decoded up to then. */
  add(at: number, frames: number): void {
    const last = this.#samples.at(-1);
    if (last && frames < last.frames) this.reset();
    this.#samples.push({ at, frames });
    while (this.#samples.length > 2 && at - (this.#samples[0]?.at ?? at) > WINDOW_SECONDS * 1000) this.#samples.shift();
  }

  /** Null until two seconds have been seen. */
  get perSecond(): number | null {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.at - first.at < 2000) return null;
    return (1000 * (last.frames - first.frames)) / (last.at - first.at);
  }
}
