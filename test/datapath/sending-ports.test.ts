// Outer source ports: which sockets share one, and what nobody else has.
import { closeDescriptor, openUdp, probePort } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ENTROPY_SOCKETS } from "../../assembly/shared/layout.js";
import { closeSockets, openSending, type UnderlayAddress } from "../../src/datapath/sockets.js";

const WORKERS = 4;
const BUFFER = 1 << 16;
const underlays: UnderlayAddress[] = [
  { family: 4, address: "127.0.0.1", port: 0 },
  { family: 6, address: "::1", port: 0 },
];

const portsOf = (sockets: readonly { port: number }[]) => sockets.map(({ port }) => port);

for (const underlay of underlays) {
  test(`over IPv${underlay.family} each source port is that of one socket of every worker`, () => {
    const sending = openSending(underlay, WORKERS, BUFFER);
    try {
      const [first = [], ...others] = sending.map(portsOf);
      assert.is(new Set(first).size, ENTROPY_SOCKETS - 1, `${first}`);
      assert.is(others.length, WORKERS - 1);
      for (const ports of others) assert.equal(ports, first);
    } finally {
      closeSockets(sending.flat());
    }
  });
}

test("nobody gets a source port that does not ask to share it", () => {
  const { family, address } = underlays[0] as UnderlayAddress;
  const place = { family, address };
  const sending = openSending({ ...place, port: 0 }, WORKERS, BUFFER);
  try {
    for (const port of portsOf(sending[0] ?? [])) assert.not.ok(probePort({ ...place, port }));
  } finally {
    closeSockets(sending.flat());
  }
});

test("one worker shares its ports with nobody", () => {
  const { family, address } = underlays[0] as UnderlayAddress;
  const sending = openSending({ family, address, port: 0 }, 1, BUFFER);
  try {
    const [{ port = 0 } = {}] = sending[0] ?? [];
    const share = () => openUdp({ family, address, port, reusePort: true });
    assert.throws(() => closeDescriptor(share().fd), /EADDRINUSE/);
  } finally {
    closeSockets(sending.flat());
  }
});

test.run();
