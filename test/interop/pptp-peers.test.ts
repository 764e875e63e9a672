// The peers of the PPTP tests among themselves, so that a failure with meshd is meshd's: pptp-linux
// dials into pptpd, both in guests, also over a path with loss, reordering and duplicates.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  dialPptp,
  hangUp,
  KernelPeer,
  NO_BUFFER,
  only,
  peerTest,
  pppLog,
  servePptp,
  whyAbsent,
} from "../peers/index.js";
import { createNamespace, runSync } from "../support/netns.js";
import { bootWired, HOSTILE, joinWire, type WiredGuest } from "./pptp-wire.js";

const test = suite("interop: the PPTP peers themselves");
const BRIDGE = "br0";
const SERVER = "192.0.2.2";
const ACCOUNT = { user: "alice", password: "s3cret pass" };
const WORDS = [...only("mschap-v2"), "require-mppe-128"];
const BYTES = 1_000_000;
let client: WiredGuest;
let server: KernelPeer;

test.before(async () => {
  if (whyAbsent() !== undefined) return;
  const namespace = createNamespace("pptp");
  runSync(namespace, ["ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"]);
  runSync(namespace, ["ip", "link", "set", BRIDGE, "up"]);
  const card = { namespace, tap: "server", addresses: [`${SERVER}/24`], tapAddresses: [] };
  const booted = await bootWired(namespace, "client", "192.0.2.1");
  server = await KernelPeer.start({ name: "server", cards: [card] });
  client = await booted();
  joinWire(client, namespace, BRIDGE);
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
    const link = await dialPptp(guest, SERVER, ACCOUNT, WORDS, NO_BUFFER);
    assert.is(link.remote, ends.local);
    assert.match(await pppLog(guest), "MPPE 128-bit stateless compression enabled");
    await guest.exec(["ping", "-c", "2", "-i", "0.2", "-s", "1300", ends.local]);
    const listen = "socat -u TCP-LISTEN:9000,reuseaddr OPEN:/tmp/got,creat,trunc";
    const receiving = server.exec(["sh", "-c", `${listen} && sha256sum </tmp/got`]);
    await guest.sh(`head -c ${BYTES} /dev/urandom >/tmp/data
      socat -u OPEN:/tmp/data TCP:${ends.local}:9000,retry=50,interval=0.1\n`);
    const sent = await guest.exec(["sh", "-c", "sha256sum </tmp/data"]);
    assert.is(await receiving, sent);
    await wire.ask(HOSTILE);
    const argv = ["ping", "-q", "-i", "0.01", "-c", "200", "-W", "2", ends.local];
    const { stdout } = await guest.tryExec(argv);
    const answered = Number(/(\d+) received/.exec(stdout)?.[1]);
    const { fromNode } = await wire.ask();
    assert.ok(fromNode.lost > 0 && fromNode.reordered > 5, JSON.stringify(fromNode));
    assert.ok(answered > 150, stdout);
    await hangUp(guest, link);
  },
);

test.run();
