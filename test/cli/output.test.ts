// What reaches a terminal, and what is said of a server without encryption.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CommandError } from "../../src/cli/command.js";
import { agoText, print } from "../../src/cli/output.js";
import {
  controllerState,
  isLoopback,
  plainWarnings,
  writeControllerState,
} from "../../src/cli/service/controller-state.js";
import { rememberProcess } from "../../src/cli/service/process-files.js";
import { makeWorld } from "./world.js";

const hostile = "endpoints.U\u001b]0;owned\u0007\u009b2J";

test("no control byte from the mesh reaches a terminal, in text or in an error", async () => {
  let out = "";
  const context = {
    out: (text: string) => {
      out += text;
    },
  };
  print({ json: false }, context, hostile, (text) => `refused ${text}\nnext\n`);
  assert.is(out, "refused endpoints.U?]0;owned??2J\nnext\n");
  out = "";
  print({ json: true }, context, [hostile], () => "");
  assert.equal(JSON.parse(out), [hostile], "programs get it as it is");
  const world = makeWorld();
  const runAgent = () => Promise.reject(new CommandError("MESHD_X", hostile));
  const { err } = await world.run(["join", "--foreground"], { runAgent });
  assert.is(err, "meshd: endpoints.U?]0;owned??2J\n");
  world.remove();
});

test("what was given for 30 days a moment ago ends in 30 days", () => {
  const now = Date.parse("2026-01-01T00:00:00.300Z");
  assert.is(agoText("2026-01-31T00:00:00.000Z", now), "in 30 d 0 h");
  assert.is(agoText("2025-12-29T23:59:59.000Z", now), "2 d 0 h ago");
  assert.is(agoText(null, now), "-");
});

test("a server that others reach is said not to be encrypted, by status too", async () => {
  for (const place of ["127.0.0.1", "127.9.9.9:1", "::1", "[::1]:4222", "nats://localhost:4222"]) {
    assert.ok(isLoopback(place), place);
  }
  for (const place of ["0.0.0.0", "::", "192.0.2.1:4222", "tls://127.example.org", "::11"]) {
    assert.not(isLoopback(place), place);
  }
  assert.equal(plainWarnings({ host: "127.0.0.1", port: 4222 }), []);
  const warnings = plainWarnings({ host: "::", port: 4222 });
  assert.match(warnings[0] ?? "", /^NATS on \[::\]:4222 is not encrypted/);
  const world = makeWorld();
  rememberProcess(world, "controller");
  writeControllerState(world, {
    ...{ pid: process.pid, mesh: "mesh", meshId: "id", controllerId: "UCTL" },
    ...{ nats: "nats://127.0.0.1:4222", natsPid: 1, started: "", warnings },
  });
  assert.equal(controllerState(world)?.warnings, warnings);
  assert.match(
    (await world.run(["status"])).out,
    /^warning +NATS on \[::\]:4222 is not encrypted/m,
  );
  world.remove();
});

test.run();
