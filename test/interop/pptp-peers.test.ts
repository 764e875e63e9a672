// The peers of the PPTP tests among themselves, so that a failure with meshd is meshd's: pptp-linux
// dials into pptpd, both in guests.
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

const test = suite("interop: the PPTP peers themselves");
const SERVER = "192.0.2.2";
const ACCOUNT = { user: "alice", password: "s3cret pass" };
const WORDS = [...only("mschap-v2"), "require-mppe-128"];
const BYTES = 1_000_000;
let client: KernelPeer;
let server: KernelPeer;

test.before(async () => {
  if (whyAbsent() !== undefined) return;
  const namespace = createNamespace("pptp");
  runSync(namespace, ["ip", "link", "add", "br0", "type", "bridge"]);
  runSync(namespace, ["ip", "link", "set", "br0", "up"]);
  const boot = (name: string, address: string) => {
    const card = { namespace, tap: name, addresses: [`${address}/24`], tapAddresses: [] };
    return KernelPeer.start({ name, cards: [card] });
  };
  [client, server] = await Promise.all([boot("client", "192.0.2.1"), boot("server", SERVER)]);
  for (const tap of ["client", "server"]) {
    runSync(namespace, ["ip", "link", "set", tap, "master", "br0"]);
  }
});

test.after(async () => {
  await Promise.all([client?.stop(), server?.stop()]);
});

peerTest(test, "pptp-linux dials into pptpd with MS-CHAPv2 and MPPE-128", async () => {
  const ends = { account: ACCOUNT, local: "10.96.0.1", remote: "10.96.0.10-20" };
  await servePptp(server, { ...ends, words: ["require-mschap-v2", "require-mppe-128"] });
  const link = await dialPptp(client, SERVER, ACCOUNT, WORDS);
  assert.is(link.remote, ends.local);
  assert.match(await pppLog(client), "MPPE 128-bit stateless compression enabled");
  await client.exec(["ping", "-c", "2", "-i", "0.2", "-s", "1300", ends.local]);
  const listen = "socat -u TCP-LISTEN:9000,reuseaddr OPEN:/tmp/got,creat,trunc";
  const receiving = server.exec(["sh", "-c", `${listen} && sha256sum </tmp/got`]);
  // Without this a receiver that fails first would end the process.
  receiving.catch(() => undefined);
  await client.sh(`head -c ${BYTES} /dev/urandom >/tmp/data
    socat -u OPEN:/tmp/data TCP:${ends.local}:9000,retry=50,interval=0.1\n`);
  const sent = await client.exec(["sh", "-c", "sha256sum </tmp/data"]);
  assert.is(await receiving, sent);
  await hangUp(client, link);
});

test.run();
