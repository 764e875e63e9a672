// The picture of a run: well-formed, everything in it, nothing outside.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { drawRun } from "../../bench/plot/index.js";
import { element, escapeXml, label } from "../../bench/plot/svg.js";
import { GOALS } from "../../bench/support/goals.js";
import { ALL_CARRIERS } from "../../bench/support/legs.js";
import { describeMachine } from "../../bench/support/machine.js";
import { makeRecord, type RunRecord } from "../../bench/support/record.js";
import { Results } from "../../bench/support/results.js";

/** Elements of an XML text in order of their begin. @throws where tags do not match */
function parse(xml: string): { name: string; attributes: Record<string, string> }[] {
  const open: string[] = [];
  const found: { name: string; attributes: Record<string, string> }[] = [];
  for (const [, close, name = "", inner = "", alone] of xml.matchAll(
    /<(\/?)([a-z]+)((?:\s+[a-z0-9-]+="[^"<]*")*)\s*(\/?)>/gi,
  )) {
    if (close === "/") {
      assert.is(open.pop(), name);
      continue;
    }
    const pairs = [...inner.matchAll(/([a-z0-9-]+)="([^"]*)"/gi)];
    found.push({
      name,
      attributes: Object.fromEntries(pairs.map((pair) => [pair[1] ?? "", pair[2] ?? ""])),
    });
    if (alone !== "/") open.push(name);
  }
  assert.equal(open, []);
  assert.is([...xml.matchAll(/</g)].length, [...xml.matchAll(/>/g)].length);
  return found;
}

function run(reason = "none"): RunRecord {
  const results = new Results();
  for (let round = 1; round <= 3; round++) {
    for (const carrier of ALL_CARRIERS) {
      const at = { leg: "mtu1500", round, carrier };
      results.add(at, { tcp1: round * 3, udp64: 0, ping50: 18, daemons: 0.5, resident: 90 });
    }
  }
  results.failures.push({ leg: "x", round: 1, carrier: "raw", measure: "ping", reason });
  return makeRecord({ ...describeMachine(), cpu: 'A<B> & "C"' }, {}, results, []);
}

test("text and attributes cannot end an element", () => {
  const text = '<a href="x">&\u0001';
  assert.is(escapeXml(text), "&lt;a href=&quot;x&quot;&gt;&amp;");
  assert.is(label(1, 2, "a<b"), '<text x="1" y="2">a&lt;b</text>');
  assert.is(element("g", { id: 'x"y', width: 1.26 }), '<g id="x&quot;y" width="1.3"/>');
});

test("a run's picture is well-formed and names every goal and carrier", () => {
  const xml = drawRun(run());
  assert.is(parse(xml)[0]?.name, "svg");
  assert.not.match(xml, /NaN|Infinity|undefined/);
  for (const { title } of GOALS) assert.ok(xml.includes(escapeXml(title)), title);
  assert.ok(xml.includes("A&lt;B&gt; &amp; &quot;C&quot;"));
});

test("nothing stands outside the picture, and no two texts begin at one place", () => {
  const [svg, ...elements] = parse(drawRun(run()));
  const [width, height] = ["width", "height"].map((name) => Number(svg?.attributes[name]));
  const places = new Set<string>();
  for (const { name, attributes } of elements) {
    const of = (key: string) => Number(attributes[key] ?? 0);
    for (const x of ["x", "x1", "x2"]) assert.ok(of(x) >= 0 && of(x) <= (width ?? 0), name);
    for (const y of ["y", "y1", "y2"]) assert.ok(of(y) >= 0 && of(y) <= (height ?? 0), name);
    if (name === "rect") assert.ok(of("x") + of("width") <= (width ?? 0));
    if (name !== "text") continue;
    const place = `${attributes.x} ${attributes.y}`;
    assert.not(places.has(place), place);
    places.add(place);
  }
});

test("a run that measured nothing has a picture, too", () => {
  const empty = makeRecord(describeMachine(), {}, new Results(), []);
  parse(drawRun(empty));
});

test.run();
