// The viewer's own settings, kept in the browser. Private windows may refuse; then nothing is remembered.

const PREFIX = 'flyloft.';

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Not remembered; nothing depends on it.
  }
}
