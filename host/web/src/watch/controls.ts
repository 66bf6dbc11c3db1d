// The buttons on the picture, the keys, the message over the picture, and sound.

import { find, setText } from '../lib/dom.ts';
import { formatSeconds } from '../lib/format.ts';
import type { Message } from '../lib/messages.ts';
import { remember, remembered } from '../lib/storage.ts';
import type { Player, Snapshot } from './player.ts';

/** The controls leave the picture when nothing has moved for this long. */
const HIDE_AFTER_MS = 2_800;
const VOLUME_STEP = 0.1;

interface WithWebkitFullscreen extends HTMLVideoElement {
  webkitEnterFullscreen?(): void;
}

export class Controls {
  #player: Player;
  #video: HTMLVideoElement;
  #screen = find<HTMLElement>('#screen');
  #curtain = find<HTMLElement>('#curtain');
  #curtainTitle = find<HTMLElement>('.curtain-title');
  #curtainText = find<HTMLElement>('.curtain-text');
  #retry = find<HTMLButtonElement>('#retry');
  #play = find<HTMLButtonElement>('#play');
  #mute = find<HTMLButtonElement>('#mute');
  #unmute = find<HTMLButtonElement>('#unmute');
  #volume = find<HTMLInputElement>('#volume');
  #live = find<HTMLButtonElement>('#live');
  #liveText = find<HTMLElement>('#live-text');
  #full = find<HTMLButtonElement>('#full');
  #pip = find<HTMLButtonElement>('#pip');
  #hideTimer: ReturnType<typeof setTimeout> | undefined;
  #soundSettled = false;

  constructor(player: Player) {
    this.#player = player;
    this.#video = player.video;
    this.#startSound();
    this.#listen();
  }

  show(snapshot: Snapshot, message: Message | null): void {
    const paused = this.#video.paused;
    this.#screen.dataset.state = snapshot.state;
    this.#toggle(this.#play, !paused, paused ? 'Play' : 'Pause');
    const playing = snapshot.state === 'playing' || snapshot.state === 'buffering' || snapshot.state === 'paused';
    this.#live.hidden = !playing;
    this.#live.dataset.behind = String(snapshot.behind);
    this.#live.disabled = !snapshot.behind;
    setText(this.#liveText, snapshot.behind ? 'GO LIVE' : 'LIVE');
    this.#live.setAttribute('aria-label', snapshot.behind
      ? `Go live${snapshot.latency === null ? '' : `, now ${formatSeconds(snapshot.latency)} behind`}`
      : 'Live');
    this.#curtain.hidden = message === null;
    if (message) {
      setText(this.#curtainTitle, message.title);
      setText(this.#curtainText, message.text);
      this.#curtain.dataset.busy = String(message.busy);
    }
    this.#retry.hidden = snapshot.state !== 'failed';
    this.#unmute.hidden = !(this.#video.muted && !this.#soundSettled && (snapshot.state === 'playing' || snapshot.state === 'buffering'));
    if (snapshot.state !== 'playing') this.#wake();
  }

  /** Muted to begin with, as browsers demand of a page that plays by itself, unless this viewer had sound on before. */
  #startSound(): void {
    const level = Number(remembered('volume') ?? '1');
    this.#video.volume = Number.isFinite(level) ? Math.min(1, Math.max(0, level)) : 1;
    this.#video.muted = remembered('sound') !== 'on';
    this.#showSound();
  }

  #setMuted(muted: boolean): void {
    this.#video.muted = muted;
    if (!muted && this.#video.volume === 0) this.#video.volume = 0.5;
    this.#soundSettled = true;
    remember('sound', muted ? 'off' : 'on');
  }

  #setVolume(volume: number): void {
    this.#video.volume = Math.min(1, Math.max(0, volume));
    this.#setMuted(this.#video.volume === 0);
    remember('volume', String(this.#video.volume));
  }

  #showSound(): void {
    const silent = this.#video.muted || this.#video.volume === 0;
    this.#toggle(this.#mute, !silent, silent ? 'Turn on sound' : 'Mute');
    this.#volume.value = String(silent ? 0 : Math.round(100 * this.#video.volume));
    this.#volume.style.setProperty('--level', `${this.#volume.value}%`);
  }

  #toggle(button: HTMLButtonElement, on: boolean, label: string): void {
    if (button.dataset.on === String(on)) return;
    button.dataset.on = String(on);
    button.setAttribute('aria-label', label);
  }

  #togglePlay(): void {
    if (this.#video.paused) void this.#player.play();
    else this.#player.pause();
  }

  async #toggleFull(): Promise<void> {
    if (document.fullscreenElement) {
      await document.exitFullscreen();
    } else if (this.#screen.requestFullscreen) {
      await this.#screen.requestFullscreen().catch(() => {});
    } else {
      // iPhones let only the video element itself fill the screen.
      (this.#video as WithWebkitFullscreen).webkitEnterFullscreen?.();
    }
  }

  async #togglePip(): Promise<void> {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#video.requestPictureInPicture();
    } catch {
      // Refused by the browser or not ready yet; the button can be pressed again.
    }
  }

  #wake(): void {
    this.#screen.dataset.awake = '';
    clearTimeout(this.#hideTimer);
    this.#hideTimer = setTimeout(() => {
      const inUse = this.#screen.querySelector('.controls :focus-visible') !== null;
      if (this.#player.playing && !inUse) delete this.#screen.dataset.awake;
    }, HIDE_AFTER_MS);
  }

  #listen(): void {
    this.#play.addEventListener('click', () => this.#togglePlay());
    this.#mute.addEventListener('click', () => this.#setMuted(!this.#video.muted));
    this.#unmute.addEventListener('click', () => this.#setMuted(false));
    this.#retry.addEventListener('click', () => void this.#player.play());
    this.#live.addEventListener('click', () => this.#player.goLive());
    this.#full.addEventListener('click', () => void this.#toggleFull());
    this.#pip.hidden = !document.pictureInPictureEnabled;
    this.#pip.addEventListener('click', () => void this.#togglePip());
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value) / 100));
    this.#video.addEventListener('volumechange', () => this.#showSound());
    document.addEventListener('fullscreenchange', () => {
      const full = document.fullscreenElement !== null;
      this.#toggle(this.#full, full, full ? 'Leave full screen' : 'Full screen');
    });
    // A mouse click on the picture pauses; a finger only calls the controls.
    this.#video.addEventListener('click', (event) => {
      if ((event as PointerEvent).pointerType !== 'touch') this.#togglePlay();
    });
    this.#video.addEventListener('dblclick', () => void this.#toggleFull());
    for (const type of ['pointermove', 'pointerdown', 'focusin'] as const) this.#screen.addEventListener(type, () => this.#wake());
    this.#screen.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse' && this.#player.playing) delete this.#screen.dataset.awake;
    });
    document.addEventListener('keydown', (event) => this.#key(event));
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target instanceof Element ? event.target : document.body;
    const key = event.key.toLowerCase();
    // A focused control keeps its own keys.
    if (target.matches('input, textarea, select')) return;
    if ((key === ' ' || key === 'enter') && target.matches('button, a, summary')) return;
    const actions: Record<string, () => void> = {
      ' ': () => this.#togglePlay(),
      k: () => this.#togglePlay(),
      m: () => this.#setMuted(!this.#video.muted),
      f: () => void this.#toggleFull(),
      p: () => void this.#togglePip(),
      l: () => this.#player.goLive(),
      arrowup: () => this.#setVolume((this.#video.muted ? 0 : this.#video.volume) + VOLUME_STEP),
      arrowdown: () => this.#setVolume((this.#video.muted ? 0 : this.#video.volume) - VOLUME_STEP),
    };
    const action = actions[key];
    if (!action) return;
    // The arrows scroll the page unless the player has the focus or fills the screen.
    if (key.startsWith('arrow') && !this.#screen.contains(target) && !document.fullscreenElement) return;
    event.preventDefault();
    action();
    this.#wake();
  }
}
