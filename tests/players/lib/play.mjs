// Plays with one player in one page of the browser and collects its report.

import { SAMPLE_MS, installMonitor } from './monitor.mjs';
import { makeReport } from './report.mjs';

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const pageAddress = (origin, player, liveDelay) => {
  const query = new URLSearchParams({ player: player.name, url: player.url });
  if (liveDelay !== undefined) query.set('liveDelay', String(liveDelay));
  return `${origin}/page/player.html?${query}`;
};

/** Waits until the page's player has started or failed for good; true when it started. */
async function waitForStart(page, timeoutMs) {
  try {
    await page.waitForFunction(
      () => window.flyloftMonitor?.startedAfterMs != null || window.playerTest?.errors.some((error) => error.fatal),
      undefined,
      { timeout: timeoutMs, polling: 50 },
    );
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
  }
  return page.evaluate(() => window.flyloftMonitor?.startedAfterMs != null);
}

/** Presses the page's switch for `mode` and waits until that mode has played for some seconds. */
async function pressSwitch(page, mode, { switchSeconds, startTimeout }) {
  const step = { mode, ok: false, started_after_ms: null, advance: 0, latency: null };
  const pressedAt = Date.now();
  try {
    await page.locator(`[data-mode="${mode}"]`).click({ timeout: 5000 });
    const limit = { timeout: startTimeout * 1000, polling: 50 };
    await page.waitForFunction((wanted) => window.flyloft.mode === wanted && window.flyloft.playing, mode, limit);
    step.started_after_ms = Date.now() - pressedAt;
    const from = await page.evaluate(() => window.flyloft.currentTime);
    await page.waitForFunction(
      ([start, seconds]) => window.flyloft.currentTime - start >= seconds,
      [from, switchSeconds],
      { timeout: (switchSeconds + startTimeout) * 1000, polling: 100 },
    );
    const after = await page.evaluate(() => ({ ...window.flyloft }));
    step.advance = Number((after.currentTime - from).toFixed(3));
    step.latency = after.latency;
    step.ok = after.mode === mode && after.playing;
  } catch (error) {
    step.problem = error.message.split('\n')[0];
  }
  return step;
}

/** Plays for `options.seconds` and answers the report. Never throws for what the stream does, only for a lost browser. */
export async function play(context, origin, player, options) {
  const isWatchPage = player.name === 'page';
  const page = await context.newPage();
  const pageErrors = [];
  const openedAt = Date.now();
  page.on('pageerror', (error) => {
    pageErrors.push({ at_ms: Date.now() - openedAt, fatal: true, type: 'page', message: error.message });
  });
  page.on('console', (message) => {
    // A refused script or style shows up only here.
    if (message.type() === 'error' && /Content Security Policy/i.test(message.text())) {
      pageErrors.push({ at_ms: Date.now() - openedAt, fatal: true, type: 'csp', message: message.text() });
    }
  });
  await page.addInitScript(`addEventListener('DOMContentLoaded', () => (${installMonitor})(${SAMPLE_MS}))`);
  try {
    await page.goto(isWatchPage ? player.url : pageAddress(origin, player, options.liveDelay), { waitUntil: 'domcontentloaded' });
  } catch (error) {
    pageErrors.push({ at_ms: Date.now() - openedAt, fatal: true, type: 'open', message: error.message.split('\n')[0] });
  }

  const switches = [];
  if (pageErrors.length === 0 && await waitForStart(page, options.startTimeout * 1000)) {
    if (isWatchPage) {
      for (const mode of options.switches) switches.push(await pressSwitch(page, mode, options));
      // A switch interrupts the picture, rightly; what is reported is the time after it.
      if (switches.length > 0) {
        await page.evaluate(() => Object.assign(window.flyloftMonitor, { samples: [], waits: [], seeks: [] }));
      }
    }
    await sleep(options.seconds * 1000);
  }
  if (options.screenshot) {
    const path = options.players.length > 1 ? options.screenshot.replace(/(\.\w+)?$/, `-${player.name}$1`) : options.screenshot;
    await page.screenshot({ path });
  }
  const found = await page.evaluate(() => ({
    monitor: window.flyloftMonitor ?? { startedAfterMs: null, samples: [], waits: [], seeks: [] },
    version: window.playerTest?.version ?? window.flyloft?.version ?? null,
    errors: window.playerTest?.errors ?? window.flyloft?.errors ?? [],
    page: window.flyloft ? { ...window.flyloft } : null,
  }));
  if (found.monitor.startedAfterMs === null && pageErrors.length === 0 && !found.errors.some((error) => error.fatal)) {
    found.errors.push({ at_ms: Date.now() - openedAt, fatal: true, type: 'timeout', message: `did not start within ${options.startTimeout} s` });
  }
  await page.close();
  const report = makeReport({ player: player.name, version: found.version, monitor: found.monitor, errors: [...found.errors, ...pageErrors] });
  if (switches.length > 0) report.switches = switches;
  if (found.page) report.page = { mode: found.page.mode, state: found.page.state, stalls: found.page.stalls };
  return report;
}
