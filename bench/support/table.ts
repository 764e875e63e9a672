// Plain text tables: first column to the left, numbers to the right, remarks to the left.

/**
 * Lines of a table; every row has as many cells as `head`. The first column and those named in
 * `remarks` stand to the left.
 */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  remarks: readonly string[] = [],
): string {
  const isLeft = (column: number) => column === 0 || remarks.includes(head[column] ?? "");
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    widths
      .map((width, column) =>
        isLeft(column) ? (row[column] ?? "").padEnd(width) : (row[column] ?? "").padStart(width),
      )
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** A number with three significant digits, without an exponent: 0.0123, 1.23, 12.3, 123, 12345. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (size === 0 || !Number.isFinite(value)) return `${value}`;
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(digits, 6));
}
