// The peers of the PPTP tests among themselves, so that a failure with meshd is meshd's: pptp-linux
// dials into pptpd, both in guests, and 5 MB cross a path with loss, reordering and duplicates.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  dialPptp,
  hangUp,
  KernelPeer,
  only,
  peerTest,
  pppLog,
  servePptp,
  whyAbsent,
} from "../peers/index.js";
import { createNamespace, runSync } from "../support/netns.js";
import { bothWays } from "../support/wire.js";
import { bootWired, HOSTILE, type WiredGuest } from "./pptp-wire.js";

const test = suite("interop: the PPTP peers themselves");
const BRIDGE = "br0";
const SERVER = "192.0.2.2";
const ACCOUNT = { user: "alice", password: "s3cret pass" };
const WORDS = [...only("mschap-v2"), "require-mppe-128"];
const BYTES = 5_000_000;
let client: WiredGuest;
let server: KernelPeer;

test.before(async () => {
  if (whyAbsent() !== undefined) return;
  const namespace = createNamespace("pptp");
  runSync(namespace, ["ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"]);
  runSync(namespace, ["ip", "link", "set", BRIDGE, "up"]);
  const card = { namespace, tap: "server", addresses: [`${SERVER}/24`], tapAddresses: [] };
  [server, client] = await Promise.all([
    KernelPeer.start({ name: "server", cards: [card] }),
    bootWired(namespace, BRIDGE, "client", "192.0.2.1"),
  ]);
  runSync(namespace, ["ip", "link", "set", "server", "master", BRIDGE]);
});

test.after(async () => {
  await Promise.all([client?.guest.stop(), server?.stop()]);
  await client?.wire.stop();
});

peerTest(
  test,
  "pptp-linux dials into pptpd with MS-CHAPv2 and MPPE-128, and data crosses",
  async () => {
    const ends = { account: ACCOUNT, local: "10.96.0.1", remote: "10.96.0.10-20" };
    await servePptp(server, { ...ends, words: ["require-mschap-v2", "require-mppe-128"] });
    const { guest, wire } = client;
    const link = await dialPptp(guest, SERVER, ACCOUNT, WORDS);
    assert.is(link.remote, ends.local);
    assert.match(await pppLog(guest), "MPPE 128-bit stateless compression enabled");
    await guest.exec(["ping", "-c", "2", "-i", "0.2", "-s", "1300", ends.local]);
    await wire.ask(HOSTILE);
    const listen = "socat -u TCP-LISTEN:9000,reuseaddr OPEN:/tmp/got,creat,trunc";
    const receiving = server.exec(["sh", "-c", `${listen} && sha256sum </tmp/got`]);
    await guest.sh(`head -c ${BYTES} /dev/urandom >/tmp/data
    until ping -c 1 -W 1 ${ends.local} >/dev/null; do :; done
    socat -u OPEN:/tmp/data TCP:${ends.local}:9000,connect-timeout=20\n`);
    const sent = await guest.exec(["sh", "-c", "sha256sum </tmp/data"]);
    assert.is(await receiving, sent);
    const { fromNode } = await wire.ask(bothWays({}));
    assert.ok(fromNode.lost > 10 && fromNode.reordered > 50, JSON.stringify(fromNode));
    await hangUp(guest, link);
  },
);

test.run();
