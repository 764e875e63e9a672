// A mesh and a real PPTP peer, a guest behind a wire with faults on the mesh's underlay:
//
//   <lab>-n2 -- pod p1        <lab>-n1 (serves, dials) -- pod p1
//        \------------ bridge ----------/
//                        \-- wire -- guest: pptp-linux or pptpd, pppd
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { MeshLab } from "../mesh/mesh-lab.js";
import type { Account, Dialled } from "../peers/index.js";
import { Capture, wrongFrames } from "../support/capture.js";
import { createNamespace, runSync, until } from "../support/netns.js";
import { bootWired, joinWire, type WiredGuest } from "./pptp-wire.js";

export const SERVER = "192.168.77.1";
export const GUEST = "192.168.77.120";
export const ALICE: Account = { user: "alice", password: "correct horse" };
/** Has a clear password in the store, for CHAP-MD5. */
export const BOB: Account = { user: "bob", password: "battery staple" };
const POOL = "10.244.0.0/16";

export interface PptpScene {
  lab: MeshLab;
  client: WiredGuest;
}

/** A file for --password-file. */
export function passwordFile(lab: MeshLab, { user, password }: Account): string {
  const file = join(lab.folder, `password-${user}`);
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  return file;
}

export async function openPptpScene(): Promise<PptpScene> {
  const lab = new MeshLab("pi");
  // Boots while the lab comes up, which holds up this process.
  const booted = await bootWired(createNamespace("roamer"), "roamer", GUEST);
  lab.up("--nodes", "2", "--pods", "1");
  const client = await booted();
  joinWire(client, lab.networkSpace, "br0");
  await lab.untilReachable("n1", "n2");
  return { lab, client };
}

/** Accounts, and n1 as the node that takes them. */
export async function serveUsers({ lab }: PptpScene): Promise<void> {
  for (const [account, more] of [
    [ALICE, []],
    [BOB, ["--chap-md5"]],
  ] as const) {
    const file = ["--password-file", passwordFile(lab, account)];
    lab.admin("user", "add", account.user, ...file, ...more);
  }
  lab.admin("node", "pptp", "n1", "--allow");
  lab.ask("n1", ["down", "--agent"]);
  lab.ask("n1", ["join", "--pptp-server"]);
  await until("the node listens for PPTP", () => {
    return runSync(lab.node("n1").namespace, ["ss", "-ltnH"]).includes(":1723 ");
  });
  await lab.untilReachable("n1", "n2");
}

/** The guest sends what is for pods by the link. */
export async function routePods({ client }: PptpScene, { device }: Dialled): Promise<void> {
  await client.guest.exec(["ip", "route", "replace", POOL, "dev", device]);
}

/** tshark's names of what a whole call has; all must be there. */
const PARTS = ["pptp", "lcp", "chap", "ccp", "ipcp", "comp_data"];

/** Frames of the control connection and of calls at the guest. */
export function captureCalls({ client }: PptpScene): Capture {
  return new Capture(client.namespace, client.tap, "tcp port 1723 or ip proto 47");
}

/** Ends a capture: every part of a call is in it, and no frame at fault. @returns its frames */
export async function judgeCalls(capture: Capture): Promise<number> {
  await capture.stop();
  const stacks = [...capture.stacks()].map((stack) => stack.split(":"));
  const missing = PARTS.filter((part) => !stacks.some((stack) => stack.includes(part)));
  assert.equal(missing, [], `not seen: ${missing.join(", ")}`);
  assert.equal(capture.frames(wrongFrames(GUEST, SERVER)).slice(0, 5), []);
  const count = capture.frames("").length;
  capture.remove();
  return count;
}
