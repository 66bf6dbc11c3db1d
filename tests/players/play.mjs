#!/usr/bin/env node
// Plays live streams with real players in a headless Chromium and reports how it went; see --help.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { HELP, readOptions } from './lib/options.mjs';
import { play } from './lib/play.mjs';
import { played } from './lib/report.mjs';
import { servePages } from './lib/server.mjs';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

function summary(report) {
  const { latency } = report;
  return [
    `${report.player} ${report.version ?? ''}: ${report.final_state}, ${report.seconds_played} s played, ${report.stalls.length} stalls`,
    latency ? `latency ${latency.min}/${latency.median}/${latency.max} s (min/median/max)` : 'latency unknown',
    `${report.resolution ?? 'no picture'}, ${report.decoded_frames} frames, ${report.dropped_frames} dropped`,
    ...report.fatal_errors.map((error) => `FATAL ${error.type}: ${error.message}`),
    ...(report.switches ?? []).map((step) => `switch to ${step.mode}: ${step.ok ? `plays after ${step.started_after_ms} ms` : step.problem}`),
  ].join('\n  ');
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const profile = await mkdtemp(join(tmpdir(), 'flyloft-players-'));
  const pages = await servePages();
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      args: FLAGS,
      viewport: options.viewport,
      colorScheme: options.dark ? 'dark' : 'light',
    });
    const reports = await Promise.all(options.players.map((player) => play(context, pages.origin, player, options)));
    for (const report of reports) console.log(options.json ? JSON.stringify(report) : summary(report));
    return reports.every((report) => played(report, options.seconds)) ? 0 : 1;
  } finally {
    await context?.close();
    await pages.close();
    await rm(profile, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`play.mjs: ${error.message}`);
  process.exitCode = 2;
}
