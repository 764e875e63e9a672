// Several nodes in one process: real pumps on the real hot path, device and underlay in memory.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { packetsInFlight, readCounters } from "../../src/datapath/counters.js";
import { PORT_DEVICE, PORT_WIRE } from "../../src/datapath/device.js";
import { createMemory } from "../../src/datapath/memory.js";
import { compileModule, instantiateModule } from "../../src/datapath/module.js";
import { TablePublisher } from "../../src/datapath/publisher.js";
import { Pump } from "../../src/datapath/pump.js";
import { MemoryDevice, MemoryNetwork, MemoryUnderlay } from "../support/memory-ports.js";
import { contentsOf, MTU, pod4, pod6 } from "../support/nodes.js";
import { buildPacket, UDP } from "../support/packets.js";
import { SplitPorts } from "../support/split-ports.js";

const NODES = [1, 2, 3];
const compiled = await compileModule();

function makeNode(number: number, network: MemoryNetwork) {
  const memory = createMemory({ workers: 1, peerCapacity: 16, prefixCapacity: 64 });
  const base = memory.bases[0] ?? 0;
  const hotPath = instantiateModule(compiled, memory.memory);
  hotPath.init(base);
  const device = new MemoryDevice(memory.bytes);
  const underlay = new MemoryUnderlay(memory.bytes, network, [192, 0, 2, number]);
  let clock_us = 0;
  const now_us = () => {
    clock_us += 100;
    return clock_us;
  };
  const { words } = memory;
  const ports = new SplitPorts({ words, base }, device, underlay, now_us);
  const pump = new Pump({ words, base, hotPath, ports });
  const onFailure = (error: unknown) => assert.unreachable(String(error));
  const peers = NODES.filter((other) => other !== number);
  new TablePublisher({ ...memory, onFailure }).publish(contentsOf(number, peers));
  const counters = () => readCounters(memory.counters, base, 0);
  return { number, device, underlay, ports, pump, counters };
}

type Node = ReturnType<typeof makeNode>;

/** Turns every pump until no queue holds anything. */
function settle(nodes: Node[]): void {
  for (let idle = 0; idle < 2; ) {
    let moved = false;
    for (const { pump, ports, underlay } of nodes) {
      ports.ready = PORT_DEVICE | PORT_WIRE;
      pump.round();
      moved = ports.mayHoldMore() || underlay.queue.length > 0 || moved;
    }
    idle = moved ? 0 : idle + 1;
  }
}

function packetBetween(from: number, to: number, serial: number, length: number): Uint8Array {
  const version = serial % 2 === 0 ? 4 : 6;
  const pod = version === 4 ? pod4 : pod6;
  const payload = new Uint8Array(length).fill(serial);
  new DataView(payload.buffer).setUint32(0, serial);
  return buildPacket({
    version,
    protocol: UDP,
    payload,
    source: pod(from, 5),
    destination: pod(to, 9),
    sourcePort: 1000 + (serial % 50),
    destinationPort: 2000,
  });
}

/** The serial number stands where the UDP payload begins. */
function serialOf(packet: Uint8Array): number {
  const headers = (packet[0] ?? 0) >> 4 === 4 ? 28 : 48;
  return new DataView(packet.buffer, packet.byteOffset + headers).getUint32(0);
}

function lengthOf(serial: number): number {
  const headers = serial % 2 === 0 ? 28 : 48;
  return [4, 100, 700, MTU - headers][serial % 4] ?? 4;
}

function exchange(nodes: Node[], each: number): number {
  let serial = 0;
  for (let round = 0; round < each; round += 1) {
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === to) continue;
        from.device.push(packetBetween(from.number, to.number, serial, lengthOf(serial)));
        serial += 1;
      }
    }
  }
  settle(nodes);
  return serial;
}

function total(nodes: Node[], read: (node: Node) => number): number {
  return nodes.reduce((sum, node) => sum + read(node), 0);
}

function assertIdentity(nodes: Node[]): void {
  for (const { counters } of nodes) {
    const { egress, ingress } = counters();
    assert.is(packetsInFlight(egress), 0);
    assert.is(packetsInFlight(ingress), 0);
    assert.equal({ ...egress.drops, ...ingress.drops }, {});
  }
}

test("every packet of every pair of three nodes arrives once, small and full-size", () => {
  const network = new MemoryNetwork();
  const nodes = NODES.map((number) => makeNode(number, network));
  const sent = exchange(nodes, 200);
  const arrived = nodes.flatMap((node) => node.device.delivered);
  const serials = new Set(arrived.map(serialOf));
  assert.is(arrived.length, sent);
  assert.is(serials.size, sent);
  assertIdentity(nodes);
  assert.is(
    total(nodes, (node) => node.counters().egress.forwarded),
    sent,
  );
  assert.is(
    total(nodes, (node) => node.counters().ingress.forwarded),
    sent,
  );
});

test("what the network loses nobody receives, and each node's account is in order", () => {
  let state = 12_345;
  const network = new MemoryNetwork(() => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % 10 === 0;
  });
  const nodes = NODES.map((number) => makeNode(number, network));
  const sent = exchange(nodes, 200);
  assert.ok(network.lost > 0);
  assert.is(
    total(nodes, (node) => node.counters().egress.forwarded),
    sent,
  );
  assert.is(
    total(nodes, (node) => node.counters().ingress.received),
    sent - network.lost,
  );
  assert.is(
    total(nodes, (node) => node.device.delivered.length),
    sent - network.lost,
  );
  assertIdentity(nodes);
});

test.run();
