// What a node does and says while its control plane is away.
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { AgentStatus, FibRow } from "../../src/agent/index.js";
import { type MeshLab, meshdAt } from "./mesh-lab.js";

/** A view is written at least so often while it is followed. */
const VIEW_KEPT_MS = 150_000;

/** What an operator asks while nobody answers over NATS. */
export async function assertCommandsWork(lab: MeshLab, name: string): Promise<void> {
  const view = await lab.statusOf(name);
  assert.is(view.nats.connected, false);
  assert.ok((view.nats.viewAge_ms ?? 0) > 0);
  const text = meshdAt(lab.node(name), ["status"]).stdout;
  assert.match(text, /^nats +not connected, view [\d.]+ m?s old, revision \d+; no server answers/m);
  assert.ok(lab.ask<unknown[]>(name, ["drops"]).length >= 0);
  assert.is(lab.ask<FibRow[]>(name, ["route", "list", "--here"]).length > 0, true);
  assert.is(lab.ask<unknown[]>(name, ["pod", "list"]).length, 2);
  const peer = name === "n1" ? "n2" : "n1";
  assert.match(meshdAt(lab.node(name), ["mtu", "explain", peer]).stdout, /^n[12] /);
  const file = join(lab.folder, `${name}.tar.gz`);
  lab.ask(name, ["sysdump", "--output", file]);
  assert.ok(existsSync(file));
}

/** n1 says how old the view is that it runs on; starting once more makes it no younger. */
export function assertRunsOnDisk(lab: MeshLab, away: number): void {
  const { nats } = lab.agent("n1");
  assert.is(nats.viewFrom, "disk");
  const at = Date.parse(nats.viewAt ?? "");
  assert.ok(at <= away && at > away - VIEW_KEPT_MS, `${nats.viewAt}, away ${new Date(away)}`);
  const age_ms = Date.now() - at;
  assert.ok(Math.abs((nats.viewAge_ms ?? 0) - age_ms) < 2_000, `${nats.viewAge_ms}, ${age_ms}`);
  const text = meshdAt(lab.node("n1"), ["status"]).stdout;
  assert.match(text, /^nats +not connected, view of \S{19}Z \(.* old\), from disk, /m);
  lab.ask("n1", ["down", "--agent"]);
  const again = lab.ask<AgentStatus>("n1", ["join"]);
  assert.is(again.nats.viewFrom, "disk");
  assert.ok(Math.abs(Date.parse(again.nats.viewAt ?? "") - at) < 1_000, again.nats.viewAt ?? "");
}
