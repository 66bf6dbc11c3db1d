// The light that the picture throws on the page around it: a tiny copy of the frame, blurred by the style sheet.

import { find } from '../lib/dom.ts';

const EVERY_MS = 400;
/** How much of the new frame is mixed in each time, so that a cut fades instead of flashing. */
const MIX = 0.35;

export class Glow {
  #canvas = find<HTMLCanvasElement>('#glow');
  #context = this.#canvas.getContext('2d', { alpha: false });
  #video: HTMLVideoElement;
  #timer: ReturnType<typeof setInterval> | undefined;
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  constructor(video: HTMLVideoElement) {
    this.#video = video;
  }

  /** Starts or stops following the picture. */
  run(on: boolean): void {
    const wanted = on && !this.#still.matches;
    if (wanted === (this.#timer !== undefined)) return;
    clearInterval(this.#timer);
    this.#timer = wanted ? setInterval(() => this.#draw(), EVERY_MS) : undefined;
    if (wanted) this.#canvas.dataset.lit = '';
  }

  #draw(): void {
    if (!this.#context || document.visibilityState !== 'visible' || this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.#context.globalAlpha = MIX;
    this.#context.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}
