// Prometheus text format 0.0.4: metric families in, text out.

export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  labels?: Labels;
  value: number | bigint;
}

export interface MetricFamily {
  /** Whole name with its unit, such as meshd_packets_total. */
  name: string;
  help: string;
  type: "counter" | "gauge";
  samples: readonly Sample[];
}

/** Value of the Content-Type header of {@link formatMetrics}'s text. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * The families as text, in the order given; a family without samples is left out.
 * @throws RangeError for a name Prometheus does not take: a mistake in the program.
 */
export function formatMetrics(families: readonly MetricFamily[]): string {
  return families
    .filter((family) => family.samples.length > 0)
    .map(formatFamily)
    .join("");
}

function formatFamily(family: MetricFamily): string {
  checkName(family.name, /^[a-zA-Z_:][a-zA-Z0-9_:]*$/);
  const help = family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  const lines = family.samples.map(
    (sample) => `${family.name}${formatLabels(sample.labels ?? {})} ${formatValue(sample.value)}\n`,
  );
  return `# HELP ${family.name} ${help}\n# TYPE ${family.name} ${family.type}\n${lines.join("")}`;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    checkName(name, /^[a-zA-Z_][a-zA-Z0-9_]*$/);
    const escaped = String(value)
      .replaceAll("\\", "\\\\")
      .replaceAll('"', '\\"')
      .replaceAll("\n", "\\n");
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function formatValue(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}

function checkName(name: string, pattern: RegExp): void {
  if (!pattern.test(name)) throw new RangeError(`${name} is no Prometheus name`);
}
