// Numbers out of repeated measurements: median, range, percentiles, and ratios of one run.

/** What several measurements of one thing come to. */
export interface Summary {
  median: number;
  min: number;
  max: number;
  count: number;
}

function sorted(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError("statistics of no values");
  return [...values].sort((a, b) => a - b);
}

/** The middle value, or the mean of the two middle ones. @throws RangeError without values */
export function median(values: readonly number[]): number {
  const list = sorted(values);
  const high = list[list.length >> 1] as number;
  const low = list[(list.length - 1) >> 1] as number;
  return (low + high) / 2;
}

/**
 * The smallest value that at least `percent` per cent of all values do not exceed (nearest rank).
 * @throws RangeError without values
 */
export function percentile(values: readonly number[], percent: number): number {
  const list = sorted(values);
  const rank = Math.ceil((percent / 100) * list.length);
  return list[Math.min(Math.max(rank, 1), list.length) - 1] as number;
}

/** @throws RangeError without values */
export function summarize(values: readonly number[]): Summary {
  const list = sorted(values);
  return {
    median: median(list),
    min: list[0] as number,
    max: list[list.length - 1] as number,
    count: list.length,
  };
}

/**
 * How many times `base` something is: the ratio of both medians, with the range of the ratios of
 * single rounds. Undefined where a round is missing on one side or the base is 0.
 */
export function compare(
  values: ReadonlyMap<number, number>,
  base: ReadonlyMap<number, number>,
): Summary | undefined {
  const rounds = [...values.keys()].filter((round) => (base.get(round) ?? 0) !== 0);
  if (rounds.length === 0) return undefined;
  const own = rounds.map((round) => values.get(round) as number);
  const other = rounds.map((round) => base.get(round) as number);
  const ratios = own.map((value, index) => value / (other[index] as number));
  return { ...summarize(ratios), median: median(own) / median(other) };
}
