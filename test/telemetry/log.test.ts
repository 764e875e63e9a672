// Log lines: fixed fields first, one line each whatever the fields hold.
import { spawnSync } from "node:child_process";
import { openSync } from "node:fs";
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createLogger, eventLog, FIXED_FIELDS, LastingOutput } from "../../src/telemetry/index.js";

const now = () => new Date("2026-01-02T03:04:05.678Z");

function lines(
  options: Parameters<typeof createLogger>[0],
  use: (l: ReturnType<typeof createLogger>) => void,
) {
  const written: string[] = [];
  use(createLogger({ now, write: (line) => void written.push(line), ...options }));
  return written;
}

test("a text line is time, level, event, then key=value with quoting only where needed", () => {
  const [line] = lines({}, (log) =>
    log.info("agent.ready", { port: 8472, name: "n1", why: "a b" }),
  );
  assert.is(line, '2026-01-02T03:04:05.678Z info agent.ready port=8472 name=n1 why="a b"\n');
});

test("a JSON line has the fixed fields and the given ones", () => {
  const [line] = lines({ format: "json" }, (log) => log.warn("x.y", { n: 3n, list: [1] }));
  assert.equal(JSON.parse(line ?? ""), {
    time: "2026-01-02T03:04:05.678Z",
    level: "warn",
    event: "x.y",
    n: "3",
    list: [1],
  });
});

test("what is below the level is not written", () => {
  const written = lines({ level: "warn" }, (log) => {
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
  });
  assert.equal(
    written.map((line) => line.split(" ")[2]?.trim()),
    ["c", "d"],
  );
});

test("an error is written with its code and message, fields of with() come first", () => {
  const error = Object.assign(new Error("gone"), { code: "MESHD_X" });
  const [line] = lines({}, (log) => log.with({ worker: 2 }).error("w.died", { error }));
  assert.match(line ?? "", /worker=2 error="MESHD_X: gone"\n$/);
});

test("events that failed are warnings without the caller naming a level", () => {
  const written = lines({}, (log) => {
    const event = eventLog(log);
    event("nats.lost");
    event("peer.up");
    event("route.changed", { error: "x" });
  });
  assert.equal(
    written.map((line) => line.split(" ")[1]),
    ["warn", "info", "warn"],
  );
});

test("whatever the fields hold, a text line stays one line and a JSON line parses", () => {
  const fields = fc.dictionary(fc.string(), fc.oneof(fc.anything(), fc.string()));
  fc.assert(
    fc.property(fields, (given) => {
      const [plain] = lines({}, (log) => log.info("e", given));
      assert.is(plain?.indexOf("\n"), (plain?.length ?? 0) - 1);
      const [json] = lines({ format: "json" }, (log) => log.info("e", given));
      const read = JSON.parse(json ?? "") as Record<string, unknown>;
      assert.equal(
        FIXED_FIELDS.map((name) => typeof read[name]),
        ["string", "string", "string"],
      );
    }),
  );
});

test("a full disk costs lines and no more: they are counted, and the next is whole", () => {
  let room = 12;
  let written = "";
  const output = new LastingOutput(2, (_, bytes) => {
    if (room === 0) throw new Error("ENOSPC");
    const length = Math.min(room, bytes.length);
    room -= length;
    written += Buffer.from(bytes.subarray(0, length)).toString();
    return length;
  });
  output.write("first\n");
  output.write("second line\n");
  output.write("third\n");
  assert.is(written, "first\nsecond");
  assert.is(output.lost, 2);
  room = 100;
  output.write("fourth\n");
  assert.is(written, "first\nsecond\nfourth\n");
  assert.is(output.lost, 0);
});

test("a logger's lines go to standard error, and /dev/full there does not end the process", () => {
  const door = new URL("../../src/telemetry/index.js", import.meta.url).href;
  const code =
    `import { createLogger } from ${JSON.stringify(door)};` +
    `const log = createLogger();` +
    `log.info("one"); log.info("two"); process.stdout.write("alive");`;
  const full = openSync("/dev/full", "w");
  const argv = ["--input-type=module", "-e", code];
  const done = spawnSync(process.execPath, argv, { stdio: ["ignore", "pipe", full] });
  assert.is(`${done.status} ${done.stdout}`, "0 alive");
});

test.run();
