// Requests to a controller over a real nats-server, from those who may send them: administrators,
// members, a holder of a join token. Each is answered or refused by a code of ours; none is an
// internal error, and the controller is there afterwards.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { AdminClient, createIdentity } from "../../control/index.js";
import { joinProof } from "../../control/join.js";
import { Link, parseCredentials, signingKey, type User } from "../../control/nats/index.js";
import { knownPaths } from "../../control/roles.js";
import { inboxOf, subjectsOf } from "../../control/subjects.js";
import { openToken } from "../../control/token.js";
import { factsOf, joinNode, TestMesh } from "../control/fixture.js";
import { fuzzWithCorpus } from "../support/corpus.js";
import { NODE_ID } from "../support/record-samples.js";

const INPUTS = 4_000;

const mesh = await TestMesh.start();
await mesh.controller();
const admin = await AdminClient.forMesh(mesh.mesh);
mesh.later(() => admin.close());
const { name } = mesh.mesh;
const subjects = subjectsOf(name);

/** A connection of somebody, told to close at the end. */
async function linkOf(user: User, inbox: string): Promise<Link> {
  const link = await Link.open({
    servers: mesh.mesh.servers,
    user: () => user,
    ca: () => mesh.mesh.ca,
    inbox,
    name: "fuzz",
  });
  mesh.later(() => link.close());
  return link;
}

/** What a controller says to one request. */
async function answered(link: Link, subject: string, text: string): Promise<string> {
  const { error } = await link.request(subject, text, 10_000);
  if (error === null) return "taken";
  assert.match(error.error, /^MESHD_[A-Z_]+: ./);
  assert.not.match(error.error, /^MESHD_INTERNAL/);
  return error.error;
}

/** Text of the fields' own, whatever was made of the request. */
function placeOf(input: string): { place: string; text: string } {
  try {
    const { place, fields } = JSON.parse(input) ?? {};
    return { place: String(place), text: JSON.stringify(fields) ?? "" };
  } catch {
    return { place: "", text: input };
  }
}

const user = parseCredentials(await readFile(mesh.mesh.adminCredentials, "utf8"));
const adminLink = await linkOf(user, inboxOf.admin(signingKey(user.seed).publicKey));
const right: Record<string, object> = {
  "nodes.show": { node: "n1" },
  "nodes.drain": { node: "n1", on: false },
  "nodes.rename": { node: "n1", name: "n1" },
  "nodes.grant": { node: "n1", cidr: "10.77.0.0/24", on: true },
  "nodes.pptp": { node: "n1", on: true },
  "leases.reserve": { cidr: "10.244.200.0/24" },
  "leases.reclaim": {},
  "tokens.create": { bootstrapKey: NODE_ID, description: "d", expires_s: 60, uses: 2 },
  "peers.add": {
    ...{ name: "rack7", endpoint: "198.51.100.7", port: 8472, podCIDRs: ["10.9.0.0/24"] },
    ...{ vtepMac: "02:00:00:00:00:77", protocol: "vxlan", vni: 1 },
  },
  "users.add": { name: "ada", ntHash: "0".repeat(32), address: null, disabled: false },
  "users.set": { name: "ada", disabled: true },
  "config.set": { name: "mtu", value: 1400 },
};
const readings = ["nodes.list", "leases.list", "leases.audit", "tokens.list", "config.get"];

/** Of a node that goes, or of a right that is taken, nothing is left to try with. */
const UNTRIED = ["nodes.remove", "admins.remove", "admins.renew"];
const paths = knownPaths.filter((path) => !UNTRIED.includes(path));

fuzzWithCorpus({
  name: "admin-requests",
  seeds: [
    ...readings.map((place) => JSON.stringify({ place, fields: {} })),
    ...Object.entries(right).map(([place, fields]) => JSON.stringify({ place, fields })),
  ],
  inputs: INPUTS,
  hasState: true,
  feed: (input) => {
    const { place, text } = placeOf(input);
    if (!paths.includes(place)) return Promise.resolve("no such path");
    return answered(adminLink, subjects.adminAs("admin", place), text);
  },
});

const member = await joinNode((await admin.tokens.create({ pptpServer: true })).token, 1);
const session = await mesh.session(member);
await session.writeNode(factsOf(1));
const { nodeId, seed } = member.identity;
const memberLink = await linkOf({ jwt: member.membership.jwt, seed }, inboxOf.node(nodeId));
const grant = member.membership.grants[0];
const unsigned = { reader: "A".repeat(43), signature: "AAAA" };

fuzzWithCorpus({
  name: "member-requests",
  seeds: [
    JSON.stringify({ place: "renew", fields: {} }),
    JSON.stringify({ place: "present", fields: { records: [grant] } }),
  ],
  examples: [
    JSON.stringify({ place: "pair", fields: { with: [NODE_ID], ...unsigned } }),
    JSON.stringify({ place: "users", fields: { after: "", ...unsigned } }),
  ],
  inputs: INPUTS,
  hasState: true,
  feed: (input) => {
    const { place, text } = placeOf(input);
    if (!["renew", "present", "pair", "users"].includes(place)) return Promise.resolve("no verb");
    return answered(memberLink, subjects.member(nodeId, place), text);
  },
});

const token = openToken((await admin.tokens.create({ uses: null })).token);
const joiner = createIdentity();
const joinLink = await linkOf(token.bootstrap, inboxOf.token(token.tokenId));
const wishes = {
  ...{ nodeId: joiner.nodeId, name: "n2", underlay: { address: "192.0.2.2", port: 8472 } },
};

/** Signed as it is, whatever it is: what is behind the proof is tried. */
function proven(text: string): string {
  try {
    const asked = JSON.parse(text);
    const proof = joinProof(token.meshId, token.tokenId, asked);
    const by = (key: string) => Buffer.from(signingKey(key).sign(proof)).toString("base64url");
    return JSON.stringify({
      ...asked,
      proof: by(joiner.seed),
      tokenProof: by(token.bootstrap.seed),
    });
  } catch {
    return text;
  }
}

fuzzWithCorpus({
  name: "join-requests",
  seeds: [JSON.stringify(wishes)],
  inputs: INPUTS,
  hasState: true,
  // The key of this run stands in no kept input.
  feed: (input) => {
    const text = input.replace(/U[A-Z2-7]{55}/, joiner.nodeId);
    return answered(joinLink, subjects.join(token.tokenId), proven(text));
  },
});

test("the controller serves after all of it, and no lease is left without a holder", async () => {
  assert.ok((await admin.nodes.list()).length >= 1);
  assert.equal(await admin.leases.audit(), []);
});

test.after(() => mesh.close());
test.run();
