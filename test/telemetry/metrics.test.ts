// Prometheus text: the exact form of a family, and escapes that keep a line a line.
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { formatMetrics } from "../../src/telemetry/index.js";

test("a family is HELP, TYPE and one line per sample", () => {
  const text = formatMetrics([
    {
      name: "meshd_packets_total",
      help: "Packets.",
      type: "counter",
      samples: [{ labels: { direction: "egress", worker: 0 }, value: 12n }, { value: 1.5 }],
    },
    { name: "meshd_empty", help: "Nothing.", type: "gauge", samples: [] },
  ]);
  assert.is(
    text,
    "# HELP meshd_packets_total Packets.\n# TYPE meshd_packets_total counter\n" +
      'meshd_packets_total{direction="egress",worker="0"} 12\nmeshd_packets_total 1.5\n',
  );
});

test("any label value gives one line that reads back to the value", () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const text = formatMetrics([
        { name: "m", help: "h", type: "gauge", samples: [{ labels: { l: value }, value: 1 }] },
      ]);
      const line = text.split("\n")[2] ?? "";
      const quoted = /^m\{l="(.*)"\} 1$/s.exec(line)?.[1] ?? "";
      const back = quoted.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
      assert.is(back, value);
    }),
  );
});

test("a name Prometheus does not take is refused", () => {
  const family = { name: "1x", help: "", type: "gauge", samples: [{ value: 1 }] } as const;
  assert.throws(() => formatMetrics([family]), /no Prometheus name/);
});

test.run();
