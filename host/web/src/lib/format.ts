// Numbers and names as people read them.

const NOTHING = '–';

/** Seconds of latency: two digits after the point below ten seconds, one above. */
export function formatSeconds(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds) || seconds < 0) return NOTHING;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** Bits per second. */
export function formatBitrate(bitsPerSecond: number | null): string {
  if (bitsPerSecond === null || !Number.isFinite(bitsPerSecond) || bitsPerSecond <= 0) return NOTHING;
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond < 9_950_000 ? 2 : 1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/** Picture size with its frame rate when that is known. */
export function formatResolution(width: number, height: number, framesPerSecond: number | null): string {
  if (width <= 0 || height <= 0) return NOTHING;
  return framesPerSecond !== null && framesPerSecond > 0 ? `${width}×${height} · ${Math.round(framesPerSecond)} fps` : `${width}×${height}`;
}

/** Dropped frames, with their share once it is worth a word. */
export function formatDropped(dropped: number | null, decoded: number | null): string {
  if (dropped === null) return NOTHING;
  if (!decoded || dropped === 0) return String(dropped);
  const percent = (100 * dropped) / decoded;
  return percent >= 0.1 ? `${dropped} (${percent.toFixed(1)} %)` : String(dropped);
}

const AVC_PROFILES: Record<string, string> = { '42': 'Baseline', '4d': 'Main', '58': 'Extended', '64': 'High', '6e': 'High 10', '7a': 'High 4:2:2', f4: 'High 4:4:4' };

/** The name of a codec from its RFC 6381 string, such as `avc1.64001f`. */
export function codecName(codec: string): string {
  const value = codec.trim();
  const [family = '', detail = ''] = value.toLowerCase().split('.');
  switch (family) {
    case 'avc1':
    case 'avc3': {
      const profile = AVC_PROFILES[detail.slice(0, 2)];
      return profile ? `H.264 ${profile}` : 'H.264';
    }
    case 'hvc1':
    case 'hev1':
      return 'HEVC';
    case 'av01':
      return 'AV1';
    case 'vp09':
      return 'VP9';
    case 'mp4a':
      return detail === '6b' || detail === '69' ? 'MP3' : 'AAC';
    case 'opus':
      return 'Opus';
    default:
      return value;
  }
}

/** A list of RFC 6381 codecs, separated by commas, as names. */
export function codecNames(codecs: string | null): string {
  const names = (codecs ?? '').split(',').map((codec) => codec.trim()).filter(Boolean).map(codecName);
  return names.length > 0 ? [...new Set(names)].join(' · ') : NOTHING;
}

/** How long until something starts, in words; null when it is due. */
export function formatCountdown(milliseconds: number): string | null {
  if (milliseconds <= 0) return null;
  const minutes = Math.ceil(milliseconds / 60_000);
  if (milliseconds < 60_000) return `in ${Math.ceil(milliseconds / 1000)} s`;
  if (minutes < 60) return `in ${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `in ${hours} h ${minutes % 60} min` : `in ${hours} h`;
  const days = Math.round(hours / 24);
  return days === 1 ? 'in a day' : `in ${days} days`;
}

/** A hue from 0 to 359 that always is the same for the same text. */
export function hueOf(text: string): number {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619);
  return (hash >>> 0) % 360;
}
