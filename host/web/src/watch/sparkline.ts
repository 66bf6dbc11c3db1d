// A curve of the last values as SVG paths.

/**
 * Paths for `values`, newest at the right edge of a box `points` wide and `height` high. A null is a gap.
 * The scale begins at 0 and leaves room above the largest value, so that a steady value is a calm line and not noise.
 */
export function sparkline(values: readonly (number | null)[], points: number, height: number): { line: string; area: string } {
  const largest = Math.max(1, ...values.map((value) => value ?? 0)) * 1.25;
  const offset = points - values.length;
  let line = '';
  let area = '';
  let runStart: number | null = null;
  values.forEach((value, index) => {
    const x = offset + index + 1;
    if (value === null) {
      if (runStart !== null) area += `L${x - 1} ${height}Z`;
      runStart = null;
      return;
    }
    const y = Math.round(100 * (height - (height * value) / largest)) / 100;
    line += `${runStart === null ? 'M' : 'L'}${x} ${y}`;
    area += runStart === null ? `M${x} ${height}L${x} ${y}` : `L${x} ${y}`;
    runStart ??= x;
  });
  if (runStart !== null) area += `L${points} ${height}Z`;
  return { line, area };
}
