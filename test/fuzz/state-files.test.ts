// Files that a killed writer, a full disk or a hand may leave damaged: what is kept of the mesh and
// of this node.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import { seal } from "../../control/envelope.js";
import { ControlError } from "../../control/errors.js";
import { parseSnapshot, serializeSnapshot } from "../../control/index.js";
import { Ledger } from "../../control/ledger.js";
import { Pairs } from "../../control/member/pairs.js";
import { type Membership, readMembership } from "../../control/membership.js";
import { signingKey } from "../../control/nats/index.js";
import { defaultConfig } from "../../control/settings.js";
import { readDials } from "../../src/agent/dials.js";
import { flipStateText, parseFlipState } from "../../src/agent/flip-state.js";
import { readRemembered } from "../../src/cli/remembered.js";
import { ConfigError } from "../../src/config/index.js";
import { LabError } from "../../src/lab/error.js";
import { DEFAULT_SHAPE } from "../../src/lab/plan.js";
import { loadShape, planAt, saveShape } from "../../src/lab/store.js";
import { PodError } from "../../src/pods/index.js";
import { readState } from "../../src/pods/state.js";
import { fuzzWithCorpus } from "../support/corpus.js";
import { NODE_ID, recordSamples } from "../support/record-samples.js";

const folder = mkdtempSync(join(tmpdir(), "meshd-fuzz-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(1));
}

const grant = signingKey("SAAN3CSUPVQDZKHMEVDRXVBYOFVHQ2234CGXYMMGWKFBO6PIUXRMALW53U");
const meshId = "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11";
const trust = { meshId, grantKey: grant.publicKey };

/** A refusal that a user sees is one of ours; its message may name the file. */
function refusal(error: unknown): string {
  const isOurs = [ControlError, ConfigError, PodError, LabError].some(
    (one) => error instanceof one,
  );
  if (!isOurs || !(error instanceof Error)) throw error;
  return error.message.replaceAll(folder, "DIR");
}

function textAt(path: string, text: string): string {
  writeFileSync(path, text);
  return path;
}

function keptSnapshot(): string {
  const ledger = new Ledger(trust);
  for (const [key, record] of recordSamples(NODE_ID)) {
    if (/^(nodes|endpoints|tokens|users)\./.test(key)) continue;
    const value = seal(meshId, key, record, 7, grant);
    ledger.apply({ key, revision: 3, value, deleted: false });
  }
  return serializeSnapshot(ledger.snapshot());
}

fuzzWithCorpus({
  name: "snapshot-file",
  seeds: [keptSnapshot()],
  inputs: 1_000,
  feed: (input) => {
    try {
      parseSnapshot(input);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

const membership: Membership = {
  ...{ meshId, mesh: "mesh", nodeId: NODE_ID, name: "n1", servers: ["nats://192.0.2.10:4222"] },
  ...{ jwt: "a.b.c", renewalJwt: "a.b.d", accountKey: grant.publicKey, grantKey: grant.publicKey },
  grants: [{ key: "leases.10-244-0-0_24", value: "{}" }],
  ...{ podCIDRs: ["10.244.0.0/24"], epoch: 1, config: defaultConfig },
};

fuzzWithCorpus({
  name: "membership-file",
  seeds: [JSON.stringify(membership)],
  inputs: 5_000,
  feed: async (input) => {
    try {
      await readMembership(textAt(join(folder, "membership.json"), input));
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

fuzzWithCorpus({
  name: "forms-file",
  seeds: [
    flipStateText({
      confirmed: { [NODE_ID]: { protocol: "gre", port: 0 } },
      open: [{ protocol: "vxlan", port: 8472 }],
    }),
  ],
  feed: (input) => (parseFlipState(input) === undefined ? "counts as not known" : "taken"),
});

const dial = {
  ...{ host: "192.0.2.9", user: "ada", auth: ["ms-chap-v2"], clear: null },
  ...{ ntHash: "0".repeat(32), encryption: "required-128", routes: ["10.9.0.0/16"] },
};

fuzzWithCorpus({
  name: "dials-file",
  seeds: [JSON.stringify([dial])],
  inputs: 5_000,
  feed: async (input) => {
    const dials = await readDials(textAt(join(folder, "dials.json"), input));
    return dials.length > 0 ? "taken" : "counts as not there";
  },
});

const pod = {
  ...{ name: "web", netns: "web", ownsNetns: true, labels: { app: "shop" } },
  ...{
    addresses: ["10.60.0.1", "fd00:60::1"],
    hostDevice: "mp1",
    createdAt: "2026-11-22T00:00:00Z",
  },
};

fuzzWithCorpus({
  name: "pods-file",
  seeds: [JSON.stringify({ version: 1, pods: [pod], last: { "10.60.0.0/24": "10.60.0.1" } })],
  inputs: 5_000,
  feed: async (input) => {
    textAt(join(folder, "pods.json"), input);
    try {
      await readState(folder);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

fuzzWithCorpus({
  name: "remembered-file",
  seeds: [JSON.stringify({ config: "/etc/meshd.yaml", settings: { tunnelPort: 4789 } })],
  inputs: 5_000,
  feed: (input) => {
    textAt(join(folder, "settings.json"), input);
    try {
      readRemembered(folder);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

const roots = { stateDir: join(folder, "state"), runDir: join(folder, "run") };
const shape = { name: "lab", ...DEFAULT_SHAPE };
saveShape(roots, shape);

fuzzWithCorpus({
  name: "lab-file",
  seeds: [JSON.stringify(shape)],
  inputs: 5_000,
  feed: (input) => {
    textAt(join(roots.stateDir, "labs", "lab", "lab.json"), input);
    try {
      const loaded = loadShape(roots, "lab");
      if (loaded !== undefined) planAt(roots, loaded);
      return "taken";
    } catch (error) {
      return refusal(error);
    }
  },
});

const secrets = [[NODE_ID, Buffer.alloc(32, 7).toString("base64url")]];

fuzzWithCorpus({
  name: "pairs-file",
  seeds: [JSON.stringify({ version: 1, meshId, secrets })],
  inputs: 5_000,
  feed: async (input) => {
    const said: string[] = [];
    const pairs = new Pairs({
      ...{ file: textAt(join(folder, "pairs.json"), input), meshId },
      ask: () => Promise.reject(new Error("nobody is asked")),
      log: (event) => void said.push(event),
    });
    await pairs.load();
    return said[0] ?? "taken";
  },
});

test.run();
