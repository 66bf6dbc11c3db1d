// Loads the one player that the address names and plays the given URL with it, as low in latency as the player can.
// What happened is left in `window.playerTest` for the test runner to read.

const query = new URLSearchParams(location.search);
const name = query.get('player');
const url = query.get('url');
const liveDelay = query.has('liveDelay') ? Number(query.get('liveDelay')) : undefined;
const video = document.getElementById('video');

const state = { version: null, errors: [], latency: () => null, wallClockLatency: () => null };
window.playerTest = state;

const report = (fatal, type, message) =>
  state.errors.push({ at_ms: Math.round(performance.now()), fatal, type: String(type), message: String(message) });

window.addEventListener('error', (event) => report(true, 'page', event.message));
window.addEventListener('unhandledrejection', (event) => report(true, 'page', event.reason?.message ?? event.reason));
video.addEventListener('error', () => report(true, 'media-element', `${video.error?.code}: ${video.error?.message}`));

/** Loads a classic script; the players below define a global. */
const script = (src) => new Promise((resolve, reject) => {
  const element = document.createElement('script');
  element.src = src;
  element.onload = resolve;
  element.onerror = () => reject(new Error(`could not load ${src}`));
  document.head.append(element);
});

const starters = {
  async hls() {
    await script('/lib/hls.js/dist/hls.min.js');
    const { Hls } = window;
    state.version = Hls.version;
    const hls = new Hls({ lowLatencyMode: true, enableWorker: true, cmcd: {} });
    hls.on(Hls.Events.ERROR, (_, data) => {
      report(data.fatal, `${data.type}/${data.details}`, data.error?.message ?? data.reason ?? data.response?.code ?? '');
    });
    state.latency = () => (hls.latency > 0 ? hls.latency : null);
    state.wallClockLatency = () => (hls.playingDate ? (Date.now() - hls.playingDate.getTime()) / 1000 : null);
    hls.attachMedia(video);
    hls.loadSource(url);
    return hls;
  },

  async dash() {
    await script('/lib/dashjs/dist/modern/umd/dash.all.min.js');
    const { dashjs } = window;
    state.version = dashjs.Version;
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({
      streaming: {
        liveCatchup: { enabled: true },
        delay: liveDelay === undefined ? {} : { liveDelay },
        cmcd: { enabled: true },
      },
    });
    // dash.js retries by itself and reports here only what it could not download or play.
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => report(true, error?.code ?? 'error', error?.message ?? error));
    state.latency = () => {
      const seconds = player.isReady() ? player.getCurrentLiveLatency() : NaN;
      return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
    };
    player.initialize(video, url, true);
    return player;
  },

  async shaka() {
    await script('/lib/shaka-player/dist/shaka-player.compiled.js');
    const { shaka } = window;
    state.version = shaka.Player.version;
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.configure({
      streaming: { lowLatencyMode: true, liveSync: { enabled: true } },
      manifest: liveDelay === undefined ? {} : { defaultPresentationDelay: liveDelay },
      cmcd: { enabled: true },
    });
    player.addEventListener('error', ({ detail }) => {
      report(detail.severity === shaka.util.Error.Severity.CRITICAL, `shaka ${detail.code}`, detail.message ?? '');
    });
    state.latency = () => (Number.isFinite(player.getStats().liveLatency) ? player.getStats().liveLatency : null);
    await player.load(url);
    return player;
  },

  async mpegts() {
    await script('/lib/mpegts.js/dist/mpegts.js');
    const { mpegts } = window;
    state.version = mpegts.version;
    mpegts.LoggingControl.enableAll = false;
    const player = mpegts.createPlayer(
      { type: 'flv', isLive: true, url },
      { enableStashBuffer: false, lazyLoad: false, liveSync: true, liveSyncMaxLatency: 1.5, liveSyncTargetLatency: 0.8 },
    );
    player.on(mpegts.Events.ERROR, (type, detail, info) => report(true, `${type}/${detail}`, info?.msg ?? ''));
    player.on(mpegts.Events.LOADING_COMPLETE, () => report(false, 'loading-complete', 'the server ended the stream'));
    state.latency = () => {
      const { buffered } = video;
      return buffered.length > 0 ? buffered.end(buffered.length - 1) - video.currentTime : null;
    };
    player.attachMediaElement(video);
    player.load();
    return player;
  },
};

try {
  // Kept on the window: a player without a reference may be collected while it plays.
  state.player = await starters[name]();
  await video.play();
} catch (error) {
  report(true, 'start', error?.code ? `${error.code} ${error.message ?? ''} ${JSON.stringify(error.data ?? '')}` : error?.message ?? error);
}
