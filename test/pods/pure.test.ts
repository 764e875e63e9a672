// Names, labels, allocation and the state file of pods, without root.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { needPrefix, parsePrefix, prefixHolding } from "../../src/host/index.js";
import { allocateAddress, allocateFromTop } from "../../src/pods/allocate.js";
import { PodError, Pods } from "../../src/pods/index.js";
import { checkLabels, checkPodName, hostDeviceName } from "../../src/pods/names.js";
import { parseState, readState, writeState } from "../../src/pods/state.js";

const POD = {
  name: "web",
  netns: "web",
  ownsNetns: true,
  labels: { app: "web" },
  addresses: ["10.244.1.1", "fd00:244:0:1::1"],
  hostDevice: "mp0123456789",
  createdAt: "2026-01-01T00:00:00.000Z",
};

function inDirectory(body: (directory: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), "meshd-pods-"));
    await body(directory).finally(() => rmSync(directory, { recursive: true, force: true }));
  };
}

async function codeFrom(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error instanceof PodError ? error.code : "other"),
  );
}

test("clients get addresses from the top of a PodCIDR, which no pod has or gets", async () => {
  const taken = new Set(["10.244.1.254", "10.244.1.252"]);
  assert.is(allocateFromTop("10.244.1.0/24", new Set()), "10.244.1.254");
  assert.is(allocateFromTop("10.244.1.0/24", taken), "10.244.1.253");
  assert.is(allocateFromTop("10.244.1.0/31", new Set()), "10.244.1.1");
  assert.throws(() => allocateFromTop("10.244.1.0/30", new Set(["10.244.1.1", "10.244.1.2"])));
  await inDirectory(async (stateDir) => {
    const podCidrs = ["fd00:244:0:1::/64", "10.244.1.0/29"];
    const pods = await Pods.open({ stateDir, device: "mesh0", podCidrs, mtu: 1400 });
    pods.keepAddresses(["10.244.1.6"]);
    assert.is(pods.takeAddress(null), "10.244.1.5", "6 is kept for a user");
    assert.is(pods.takeAddress("10.244.1.6"), "10.244.1.6");
    assert.throws(() => pods.takeAddress("10.244.1.6"), /another client/);
    assert.is(pods.takeAddress(null), "10.244.1.4");
    pods.releaseAddress("10.244.1.5");
    assert.is(pods.takeAddress(null), "10.244.1.5");
  })();
});

test("a pod's name is one DNS label", () => {
  for (const name of ["a", "web-1", "0", "a".repeat(63)]) assert.is(checkPodName(name), name);
  const bad = ["", "-a", "a-", "A", "a.b", "a/b", "a b", "../x", "a\n", "ä", "a".repeat(64)];
  for (const name of bad) assert.throws(() => checkPodName(name), /refused/, name);
});

test("labels are checked and copied", () => {
  const labels = { app: "web", "team.example/tier": "front_1", empty: "" };
  assert.equal(checkLabels(labels), labels);
  for (const bad of [
    { "": "x" },
    { "a b": "x" },
    { a: "x y" },
    { a: "-x" },
    { a: "x".repeat(64) },
  ]) {
    assert.throws(() => checkLabels(bad), /refused/);
  }
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, "v"]));
  assert.throws(() => checkLabels(many), /at most 64/);
});

test("host devices differ by overlay, by pod, and from devices that are there", () => {
  const first = hostDeviceName("mesh0", "web", new Set());
  assert.match(first, /^mp[0-9a-f]{10}$/);
  assert.is(hostDeviceName("mesh0", "web", new Set(["eth0"])), first);
  assert.is.not(hostDeviceName("mesh1", "web", new Set()), first);
  assert.is.not(hostDeviceName("mesh0", "web", new Set([first])), first);
});

test("the first pod gets the second address; the node's and the last are never given", () => {
  assert.is(allocateAddress("10.244.1.0/24", new Set(), undefined), "10.244.1.1");
  assert.is(allocateAddress("fd00:244:0:1::/64", new Set(), undefined), "fd00:244:0:1::1");
  assert.is(allocateAddress("10.244.1.0/31", new Set(), undefined), "10.244.1.1");
  assert.is(allocateAddress("10.244.1.0/24", new Set(), "10.244.1.254"), "10.244.1.1");
  assert.is(allocateAddress("10.244.1.0/24", new Set(), "10.99.1.1"), "10.244.1.1");
  assert.is(allocateAddress("10.244.1.0/24", new Set(["10.244.1.6"]), "10.244.1.5"), "10.244.1.7");
});

test("every address is given once, then the PodCIDR is exhausted", () => {
  for (const [podCidr, count] of [
    ["10.244.1.0/28", 14],
    ["10.244.1.0/30", 2],
    ["10.244.1.0/31", 1],
    ["10.244.1.0/32", 0],
    ["fd00::/124", 15],
    ["fd00::/128", 0],
  ] as const) {
    const taken = new Set<string>();
    let last: string | undefined;
    for (let i = 0; i < count; i++) {
      last = allocateAddress(podCidr, taken, last);
      assert.not.ok(taken.has(last));
      taken.add(last);
    }
    assert.throws(
      () => allocateAddress(podCidr, taken, last),
      (error: unknown) =>
        error instanceof PodError && error.code === "MESHD_POD_ADDRESSES_EXHAUSTED",
    );
  }
});

test("no order of giving and releasing gives an address twice or outside the PodCIDR", () => {
  const cidrs = fc.constantFrom("10.1.2.0/29", "10.1.2.16/30", "fd00:1::/125");
  fc.assert(
    fc.property(cidrs, fc.array(fc.nat(9), { maxLength: 60 }), (podCidr, steps) => {
      const taken = new Set<string>();
      let last: string | undefined;
      for (const step of steps) {
        const held = [...taken];
        const released = held[step];
        if (released !== undefined && step > 3) {
          taken.delete(released);
          continue;
        }
        try {
          last = allocateAddress(podCidr, taken, last);
        } catch (error) {
          assert.instance(error, PodError);
          continue;
        }
        assert.not.ok(taken.has(last));
        assert.is(prefixHolding(last, [podCidr]), podCidr);
        assert.is.not(parsePrefix(last)?.value, needPrefix(podCidr).value);
        taken.add(last);
      }
    }),
  );
});

test(
  "the state is written in one piece, for its owner alone, and read back equal",
  inDirectory(async (directory) => {
    const state = { pods: [POD], last: { "10.244.1.0/24": "10.244.1.1" } };
    assert.equal(await readState(directory), { pods: [], last: {} });
    await writeState(directory, state);
    assert.equal(await readState(directory), state);
    assert.is(statSync(join(directory, "pods.json")).mode & 0o777, 0o600);
    assert.is(JSON.parse(readFileSync(join(directory, "pods.json"), "utf8")).version, 1);
  }),
);

test(
  "a state that makes no sense is refused by name and left as it is",
  inDirectory(async (directory) => {
    const path = join(directory, "pods.json");
    for (const text of ["", "{", "[]", '{"version":2,"pods":[]}', '{"version":1,"pods":[7]}']) {
      writeFileSync(path, text);
      const options = { stateDir: directory, device: "mesh0", podCidrs: [], mtu: 1450 };
      assert.is(await codeFrom(Pods.open(options)), "MESHD_POD_STATE");
      assert.is(readFileSync(path, "utf8"), text);
    }
  }),
);

test("two pods with one address, name or device are no state", () => {
  const other = { ...POD, name: "b", hostDevice: "mpb", addresses: ["10.244.1.2"] };
  const good = { version: 1, pods: [POD, other], last: {} };
  assert.is(parseState(good).pods.length, 2);
  for (const wrong of [
    { ...other, addresses: ["10.244.1.1"] },
    { ...other, name: "web" },
    { ...other, hostDevice: POD.hostDevice },
    { ...other, addresses: ["no address"] },
  ]) {
    assert.throws(() => parseState({ ...good, pods: [POD, wrong] }), /twice|no address/);
  }
});

test.run();
