// Watches a video element from inside the page and keeps what a report needs.
// `installMonitor` is sent to the browser as source, so it may use nothing from outside itself.

/** How often the element is looked at, in milliseconds. */
export const SAMPLE_MS = 250;

/** Runs in the page: samples the first video element and leaves its findings in `window.flyloftMonitor`. */
export function installMonitor(sampleMs) {
  const monitor = { startedAfterMs: null, samples: [], waits: [], seeks: [] };
  window.flyloftMonitor = monitor;
  const openedAt = performance.now();
  const now = () => performance.now() - openedAt;
  let watched = null;
  let waiting = null;

  const endWait = () => {
    if (waiting) waiting.ms = now() - waiting.at;
    waiting = null;
  };

  const watch = (video) => {
    watched = video;
    video.addEventListener('playing', () => {
      if (monitor.startedAfterMs === null) monitor.startedAfterMs = now();
      endWait();
    });
    video.addEventListener('waiting', () => {
      if (monitor.startedAfterMs === null || waiting) return;
      waiting = { at: now(), ms: null, seeking: video.seeking };
      monitor.waits.push(waiting);
    });
    video.addEventListener('seeking', () => {
      if (monitor.startedAfterMs !== null) monitor.seeks.push({ at: now(), to: video.currentTime });
    });
    // The page may have started before it was looked at.
    if (!video.paused && video.readyState >= 3 && video.currentTime > 0) monitor.startedAfterMs = now();
  };

  const sample = () => {
    const video = document.querySelector('video');
    if (!video) return;
    if (video !== watched) watch(video);
    const quality = video.getVideoPlaybackQuality?.();
    const probe = window.playerTest ?? null;
    const page = window.flyloft ?? null;
    monitor.samples.push({
      at: now(),
      currentTime: video.currentTime,
      paused: video.paused,
      ended: video.ended,
      readyState: video.readyState,
      width: video.videoWidth,
      height: video.videoHeight,
      decoded: quality?.totalVideoFrames ?? null,
      dropped: quality?.droppedVideoFrames ?? null,
      latency: probe ? probe.latency() : page?.latency ?? null,
      wallClockLatency: probe ? probe.wallClockLatency() : null,
    });
  };
  sample();
  setInterval(sample, sampleMs);
}
