// Netlink events: what another process changes in the namespace is heard, each kind once.
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { enterNamespace, inNamespace, ip, thrownBy } from "./support.mjs";

const NETLINK_ROUTE = 0;
const LINK = 1;
const ADDRESS = 5;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;

const rootTest = inNamespace(test, enterNamespace(import.meta.url));
const heard = (fd) => {
  const types = new Uint32Array(16);
  return [...types.subarray(0, tun.readEvents(fd, types))];
};

/** On the loopback device: an address of the block for documentation. */
function changeAddress(number) {
  ip("address", "add", `192.0.2.${number}/32`, "dev", "lo");
  ip("address", "delete", `192.0.2.${number}/32`, "dev", "lo");
}

test("nothing is heard while nothing changes, and a group that nobody has is refused", () => {
  const fd = tun.openEvents(NETLINK_ROUTE, []);
  assert.equal(heard(fd), []);
  tun.closeDescriptor(fd);
  assert.is(thrownBy(() => tun.openEvents(NETLINK_ROUTE, [1 << 20])).code, "EINVAL");
  assert.is(thrownBy(() => tun.openEvents(99, [])).code, "EPROTONOSUPPORT");
  assert.is(thrownBy(() => tun.readEvents(fd, new Uint8Array(8))).name, "TypeError");
});

rootTest("a change by another process is heard once a kind, however many messages came", () => {
  const fd = tun.openEvents(NETLINK_ROUTE, [ADDRESS]);
  for (let number = 1; number <= 3; number += 1) changeAddress(number);
  assert.equal(heard(fd), [RTM_NEWADDR, RTM_DELADDR]);
  assert.equal(heard(fd), [], "told once");
  changeAddress(1);
  assert.is(tun.readEvents(fd, new Uint32Array(1)), 1, "no more than there is room");
  tun.closeDescriptor(fd);
});

rootTest("a device's MTU is told as it is now, and -1 where there is none", () => {
  ip("link", "set", "dev", "lo", "mtu", "1400");
  assert.is(tun.linkMtu("lo"), 1400);
  ip("link", "set", "dev", "lo", "mtu", "65536");
  assert.is(tun.linkMtu("lo"), 65_536);
  assert.is(tun.linkMtu("absent"), -1);
  assert.is(thrownBy(() => tun.linkMtu("a".repeat(16))).name, "TypeError");
});

rootTest("a socket hears the groups it named and no other", () => {
  const fd = tun.openEvents(NETLINK_ROUTE, [LINK]);
  changeAddress(4);
  assert.equal(heard(fd), []);
  tun.closeDescriptor(fd);
});

test.run();
