// Coalescing of many flows at once, and with little room: whatever comes, all packets go out whole
// and each flow in its order.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ARENA_SIZE, INGRESS } from "../../assembly/shared/layout.js";
import { shapeOf } from "../support/judge.js";
import type { PacketOptions } from "../support/packets.js";
import {
  ACK,
  address4,
  buildPacket,
  CWR,
  concat,
  FIN,
  PSH,
  pseudoHeader,
  SYN,
  setBe16,
  slowChecksum,
  TCP,
  UDP,
} from "../support/packets.js";
import { counts, deliver, packetsOf, random, room, TIMESTAMPS, train } from "../support/trains.js";
import { comparable, expand, type TunOutput } from "../support/worker-room.js";

const { kernels, base } = room;

function expectSame(outputs: TunOutput[], packets: Uint8Array[]): void {
  assert.equal(outputs.flatMap(expand).map(comparable), packets.map(comparable));
}

test("eight flows interleaved are joined apart, and a ninth still comes out whole", () => {
  for (const flows of [8, 9, 30]) {
    const trains = Array.from({ length: flows }, (_, i) =>
      train({ sourcePort: 1000 + i }, [500, 500, 500, 500]),
    );
    const packets = [0, 1, 2, 3].flatMap((i) => trains.map((t) => t[i] ?? new Uint8Array(0)));
    const outputs = deliver(packets);
    if (flows === 8) assert.equal(counts(outputs), new Array<number>(8).fill(4));
    for (const own of trains) {
      const port = own[0]?.slice(20, 22);
      const mine = outputs.filter((o) => o.packet[20] === port?.[0] && o.packet[21] === port?.[1]);
      expectSame(mine, own);
    }
  }
});

test("a protocol whose header looks like that of UDP is not joined", () => {
  const packets = [1, 2, 3].map((identification) => {
    const body = new Uint8Array(108).fill(identification, 8);
    body.set([0x13, 0x88, 0x14, 0x51, 0, body.length, 0, 0]);
    const options = { version: 4 as const, protocol: 136, identification };
    const pseudo = pseudoHeader(buildPacket({ ...options, payload: body }), 136, body.length);
    setBe16(body, 6, slowChecksum(concat(pseudo, body)));
    return buildPacket({ ...options, payload: body });
  });
  assert.equal(counts(deliver(packets)), [1, 1, 1]);
  const asUdp = train({ protocol: UDP }, [100, 100, 100]);
  assert.equal(counts(deliver(asUdp)), [3]);
});

test("a packet that cannot be joined ends what is open between its own addresses alone", () => {
  const packets = train({}, [500, 500, 500, 500]);
  const stray = (source: Uint8Array) => {
    const gre = buildPacket({ version: 4, protocol: 47, payload: new Uint8Array(40), source });
    return [...packets.slice(0, 2), gre, ...packets.slice(2)];
  };
  assert.equal(counts(deliver(stray(address4(10, 0, 9, 9)))), [1, 4]);
  assert.equal(counts(deliver(stray(packets[0]?.slice(12, 16) ?? new Uint8Array(4)))), [2, 1, 2]);
});

/**
 * A train given piece by piece, with the arena's state set before the first or before the flush.
 */
function deliverShort(packets: Uint8Array[], usedBefore: number, usedAfter: number): TunOutput[] {
  room.reset();
  room.setArenaUsed(usedBefore);
  room.place(packets).forEach((at, i) => {
    kernels.deliver(base, at, packets[i]?.length ?? 0, INGRESS);
  });
  room.setArenaUsed(usedAfter);
  kernels.flush(base);
  return room.outputs();
}

test("without room in the arena packets are not joined", () => {
  const packets = train({}, [700, 700, 700]);
  const short = ARENA_SIZE - 640;
  const outputs = deliverShort(packets, short, short);
  assert.equal(counts(outputs), [1, 1, 1]);
  assert.equal(packetsOf(outputs), packets);
  assert.equal(counts(deliverShort(packets, ARENA_SIZE - 1700, ARENA_SIZE - 1700)), [2, 1]);
  assert.equal(counts(deliver(packets)), [3], "and nothing of it is remembered");
});

test("when others take the room, what was joined goes out one by one, whole and in order", () => {
  const packets = train({}, [700, 700, 700]);
  const outputs = deliverShort(packets, 0, ARENA_SIZE - 640);
  assert.equal(counts(outputs), [1, 1, 1]);
  assert.equal(packetsOf(outputs), packets);
  assert.ok(outputs.every((o) => o.vnet.every((b) => b === 0)));
  assert.equal(counts(deliver(packets)), [3]);
});

test("eight full super-packets at once never take more of the arena than there is", () => {
  const flows = Array.from({ length: 8 }, (_, i) =>
    train({ sourcePort: 1000 + i }, new Array<number>(7).fill(8900)),
  );
  const packets = Array.from({ length: 7 }, (_, n) => flows.map((f) => f[n] ?? f[0])).flat();
  const whole = packets.filter((p) => p !== undefined);
  const used = ARENA_SIZE - 200_000;
  const outputs = deliverShort(whole, used, used);
  const taken = outputs.filter((o) => o.isInArena);
  assert.ok(taken.length >= 2);
  assert.is(outputs.filter((o) => o.segments > 1 && !o.isInArena).length, 0);
  for (const flow of flows) {
    const port = flow[0]?.slice(20, 22);
    expectSame(
      outputs.filter((o) => o.packet[20] === port?.[0] && o.packet[21] === port?.[1]),
      flow,
    );
  }
});

test("after a restart nothing of the old super-packets is remembered", () => {
  const packets = train({}, [700, 700, 700]);
  room.reset();
  room.place(packets).forEach((at, i) => {
    kernels.deliver(base, at, packets[i]?.length ?? 0, INGRESS);
  });
  kernels.forget(base);
  kernels.flush(base);
  assert.equal(room.outputs(), []);
  assert.equal(counts(deliver(packets)), [3]);
});

interface Flow {
  key: string;
  options: Partial<PacketOptions> & { version: 4 | 6; protocol: number };
  sequence: number;
  identification: number;
}

function randomFlow(index: number): Flow {
  const version = random.pick([4, 6] as const);
  const options = {
    ...{ version, protocol: random.pick([TCP, TCP, UDP]), sourcePort: 1000 + index },
    ...{
      dontFragment: random.once(2),
      tcpOptions: random.once(2) ? TIMESTAMPS : new Uint8Array(0),
    },
  };
  return { key: "", options, sequence: random.bits(), identification: random.bits() & 0xffff };
}

function nextPacket(flow: Flow): Uint8Array {
  const payload = random.bytes(random.once(4) ? random.between(0, 1400) : 700);
  const odd: Partial<PacketOptions> = random.once(6)
    ? random.pick<Partial<PacketOptions>>([
        ...[{ flags: ACK | PSH }, { flags: ACK | FIN }, { flags: SYN }, { window: 3 }, { tos: 3 }],
        ...[{ ttl: 5 }, { checksum: 7 }, { sequence: 1 }, { ipOptions: new Uint8Array(8) }],
        ...[{ flags: ACK | CWR }, { identification: 0 }, { protocol: 47 }],
      ])
    : {};
  const { sequence, identification } = flow;
  flow.sequence = (sequence + payload.length) % 2 ** 32;
  flow.identification = (identification + 1) & 0xffff;
  return buildPacket({ payload, sequence, identification, ...flow.options, ...odd });
}

/** Protocol and port; packets without ports belong to every flow of their version. */
function keyOf(packet: Uint8Array): string {
  const shape = shapeOf(packet);
  if (typeof shape === "string") return "damaged";
  const port = Buffer.from(packet.slice(shape.offset, shape.offset + 2)).toString("hex");
  return shape.protocol === 47 ? `${shape.version}` : `${shape.version} ${shape.protocol} ${port}`;
}

test("random traffic of several flows comes out complete and in order, flow by flow", () => {
  let joined = 0;
  for (let round = 0; round < 150; round++) {
    const flows = Array.from({ length: random.between(1, 12) }, (_, i) => randomFlow(i));
    let flow = random.pick(flows);
    const packets = Array.from({ length: random.between(1, 120) }, () => {
      if (random.once(5)) flow = random.pick(flows);
      return nextPacket(flow);
    });
    const outputs = deliver(packets);
    joined += outputs.filter((o) => o.segments > 1).length;
    const out = outputs.flatMap(expand);
    assert.is(out.length, packets.length);
    for (const version of ["4", "6"]) {
      for (const key of new Set(packets.map(keyOf).filter((k) => k.startsWith(version)))) {
        const own = (list: Uint8Array[]) =>
          list.filter((p) => keyOf(p) === key || keyOf(p) === version).map(comparable);
        assert.equal(own(out), own(packets), `flow ${key}`);
      }
    }
  }
  assert.ok(joined > 500, `${joined} super-packets`);
});

test.run();
