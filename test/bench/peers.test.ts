// What the benches tell other people's daemons: settings as text, keys in the form they read.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { End } from "../../bench/network/peers/daemon.js";
import * as fastd from "../../bench/network/peers/fastd.js";
import * as nebula from "../../bench/network/peers/nebula.js";
import { argumentsOf } from "../../bench/network/peers/openvpn.js";
import * as tinc from "../../bench/network/peers/tinc.js";
import * as wireguard from "../../bench/network/peers/wireguard.js";

const end = (number: 1 | 2) => ({
  ...{ number, namespace: `ns${number}`, address: `198.18.0.${number}` },
  ...{ overlay: `198.19.7.${number}`, device: `dev${number}`, mtu: 1440, port: 20_007 },
  folder: `/tmp/end${number}`,
});

function bothEnds(): [End, End] {
  const [client, server] = [end(1) as End, end(2) as End];
  client.other = server;
  server.other = client;
  return [client, server];
}

const [client, server] = bothEnds();
/** PKCS #8 before the 32 bytes of an X25519 key (RFC 8410, section 7). */
const PKCS8_HEAD = "302e020100300506032b656e04220420";

test("wireguard-go gets the raw bytes of an X25519 pair that belong together", () => {
  const keys = wireguard.makeKeys();
  const der = Buffer.from(PKCS8_HEAD + keys.secret, "hex");
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const known = createPublicKey(secret).export({ format: "jwk" }).x ?? "";
  assert.is(keys.public, Buffer.from(known, "base64url").toString("hex"));
});

test("wireguard-go is told its own key, then one peer, then a blank line", () => {
  const own = { secret: "aa", public: "bb" };
  const text = wireguard.settingsOf(client, own, { secret: "cc", public: "dd" });
  const lines = [
    "set=1",
    "private_key=aa",
    "listen_port=20007",
    "replace_peers=true",
    "public_key=dd",
    "endpoint=198.18.0.2:20007",
    "replace_allowed_ips=true",
    "allowed_ip=198.19.7.2/32",
  ];
  assert.is(text, `${lines.join("\n")}\n\n`);
  assert.not.match(text, /cc/, "the peer's secret is not its business");
});

test("wireguard-go's answer is an error unless it says errno=0", () => {
  wireguard.checkAnswer("errno=0\n\n");
  assert.throws(() => wireguard.checkAnswer("errno=-22\n\n"), /-22/);
  assert.throws(() => wireguard.checkAnswer(""), /no errno/);
});

test("nebula's client looks for the server, which is the lighthouse and looks for nobody", () => {
  const [one, two] = [client, server].map((side) => nebula.settingsOf(side, "/ca")) as {
    static_host_map: object;
    lighthouse: object;
  }[];
  assert.equal(one?.static_host_map, { "198.19.7.2": ["198.18.0.2:20007"] });
  assert.equal(one?.lighthouse, { am_lighthouse: false, hosts: ["198.19.7.2"] });
  assert.equal(two?.static_host_map, {});
  assert.equal(two?.lighthouse, { am_lighthouse: true, hosts: [] });
});

test("tinc's client calls, its server waits, and each knows where the other's address is", () => {
  assert.match(tinc.settingsOf(client), /^ConnectTo = host2$/m);
  assert.not.match(tinc.settingsOf(server), /ConnectTo/);
  const file = tinc.hostFileOf(server, "KEY\n");
  assert.is(file, "Address = 198.18.0.2 20007\nPort = 20007\nSubnet = 198.19.7.2/32\nKEY\n");
});

test("openvpn's two ends differ in who is the TLS server, and stay out of the kernel", () => {
  const [one, two] = [client, server].map((side) => argumentsOf(side, "AB:CD").join(" "));
  assert.match(one ?? "", /--tls-client/);
  assert.match(two ?? "", /--tls-server --dh none/);
  assert.match(one ?? "", /--remote 198\.18\.0\.2 20007 .*--disable-dco --fast-io --tun-mtu 1440/);
});

test("fastd's settings hold the own secret and the peer's public key", () => {
  const text = fastd.settingsOf(
    client,
    { secret: "11", public: "22" },
    { secret: "33", public: "44" },
  );
  assert.match(text, /^secret "11";$/m);
  assert.match(text, /^peer "host2" \{ key "44"; remote 198\.18\.0\.2:20007; \}$/m);
  assert.not.match(text, /33|"22"/);
});

test.run();
