// Makes the two kinds of X.509 certificates (RFC 5280) that a mesh has: its CA, and servers' of
// nats-server. ECDSA with P-256.
import type { webcrypto } from "node:crypto";
import { isIP } from "node:net";

/** Both as PEM; the key is PKCS #8 and secret. */
export interface Certified {
  certificate: string;
  key: string;
}

export interface Validity {
  from: Date;
  until: Date;
}

const curve = { name: "ECDSA", namedCurve: "P-256" };
const oid = {
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
};
/** First byte of the bit string of key usages, RFC 5280 4.2.1.3. */
const usage = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 };

/** Takes 60 ms and 15 MB to load: only who makes a certificate pays for it. */
async function load() {
  const [pki, asn1] = await Promise.all([import("pkijs"), import("asn1js")]);
  return { pki, asn1 };
}
type Library = Awaited<ReturnType<typeof load>>;
type Extension = InstanceType<Library["pki"]["Extension"]>;

/** A CA that signs servers' certificates and no other CA's. */
export async function makeAuthority(name: string, validity: Validity): Promise<Certified> {
  const library = await load();
  const keys = await crypto.subtle.generateKey(curve, true, ["sign", "verify"]);
  const keyId = await keyIdOf(keys.publicKey);
  const certificate = await build(library, {
    ...{ name, issuer: name, validity, publicKey: keys.publicKey, signer: keys.privateKey },
    extensions: [
      basicConstraints(library, true),
      keyUsage(library, usage.keyCertSign | usage.cRLSign),
      subjectKeyIdentifier(library, keyId),
    ],
  });
  return { certificate, key: await exportKey(keys.privateKey) };
}

/**
 * A certificate for a server of these hosts, names or addresses, signed by the CA. It also serves
 * as a client's: routes between servers go both ways.
 */
export async function makeServerCertificate(
  authority: Certified,
  hosts: readonly string[],
  validity: Validity,
): Promise<Certified> {
  const library = await load();
  const issuer = library.pki.Certificate.fromBER(derOf(authority.certificate));
  const signer = await crypto.subtle.importKey("pkcs8", derOf(authority.key), curve, false, [
    "sign",
  ]);
  const keys = await crypto.subtle.generateKey(curve, true, ["sign", "verify"]);
  const certificate = await build(library, {
    ...{ name: "meshd nats-server", issuer: nameOf(issuer), validity, signer },
    publicKey: keys.publicKey,
    extensions: [
      basicConstraints(library, false),
      keyUsage(library, usage.digitalSignature),
      extendedKeyUsage(library),
      subjectKeyIdentifier(library, await keyIdOf(keys.publicKey)),
      authorityKeyIdentifier(library, await digestOf(publicBits(issuer))),
      subjectAltName(library, hosts),
    ],
  });
  return { certificate, key: await exportKey(keys.privateKey) };
}

interface Contents {
  name: string;
  issuer: string;
  validity: Validity;
  publicKey: Key;
  signer: Key;
  extensions: Extension[];
}

async function build({ pki, asn1 }: Library, contents: Contents): Promise<string> {
  const made = new pki.Certificate();
  // v3, which has extensions.
  made.version = 2;
  made.serialNumber = new asn1.Integer({ valueHex: serialNumber() });
  const named = (value: string) =>
    new pki.AttributeTypeAndValue({
      type: oid.commonName,
      value: new asn1.Utf8String({ value }),
    });
  made.subject.typesAndValues.push(named(contents.name));
  made.issuer.typesAndValues.push(named(contents.issuer));
  made.notBefore.value = contents.validity.from;
  made.notAfter.value = contents.validity.until;
  made.extensions = contents.extensions;
  await made.subjectPublicKeyInfo.importKey(contents.publicKey);
  await made.sign(contents.signer, "SHA-256");
  return pemOf("CERTIFICATE", made.toSchema(true).toBER(false));
}

/** 16 random bytes, positive and without a leading zero byte. */
function serialNumber(): ArrayBuffer {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.buffer;
}

type Certificate = InstanceType<Library["pki"]["Certificate"]>;
type Key = webcrypto.CryptoKey;

function publicBits(certificate: Certificate): ArrayBuffer {
  return certificate.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHex;
}

function nameOf(certificate: Certificate): string {
  return String(certificate.subject.typesAndValues[0]?.value.valueBlock.value ?? "");
}

/** RFC 5280 4.2.1.2 (1): SHA-1 of the key's bits is its name; it protects nothing. */
function digestOf(bits: ArrayBuffer): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-1", bits);
}

async function keyIdOf(key: Key): Promise<ArrayBuffer> {
  return digestOf(await crypto.subtle.exportKey("raw", key));
}

function basicConstraints({ pki }: Library, isAuthority: boolean): Extension {
  const value = isAuthority
    ? new pki.BasicConstraints({ cA: true, pathLenConstraint: 0 })
    : new pki.BasicConstraints({ cA: false });
  return new pki.Extension({
    extnID: oid.basicConstraints,
    critical: true,
    extnValue: value.toSchema().toBER(false),
  });
}

function keyUsage({ pki, asn1 }: Library, bits: number): Extension {
  // Trailing zero bits are left out of a named bit list (X.690 11.2.2).
  const unusedBits = 31 - Math.clz32(bits & -bits);
  const valueHex = new Uint8Array([bits]).buffer;
  const value = new asn1.BitString({ valueHex, unusedBits });
  return new pki.Extension({
    extnID: oid.keyUsage,
    critical: true,
    extnValue: value.toBER(false),
  });
}

function extendedKeyUsage({ pki }: Library): Extension {
  const value = new pki.ExtKeyUsage({ keyPurposes: [oid.serverAuth, oid.clientAuth] });
  return new pki.Extension({
    extnID: oid.extendedKeyUsage,
    extnValue: value.toSchema().toBER(false),
  });
}

function subjectKeyIdentifier({ pki, asn1 }: Library, keyId: ArrayBuffer): Extension {
  const value = new asn1.OctetString({ valueHex: keyId });
  return new pki.Extension({ extnID: oid.subjectKeyIdentifier, extnValue: value.toBER(false) });
}

function authorityKeyIdentifier({ pki, asn1 }: Library, keyId: ArrayBuffer): Extension {
  const keyIdentifier = new asn1.OctetString({ valueHex: keyId });
  const value = new pki.AuthorityKeyIdentifier({ keyIdentifier });
  return new pki.Extension({
    extnID: oid.authorityKeyIdentifier,
    extnValue: value.toSchema().toBER(false),
  });
}

function subjectAltName({ pki, asn1 }: Library, hosts: readonly string[]): Extension {
  const names = hosts.map((host) =>
    isIP(host) === 0
      ? new pki.GeneralName({ type: 2, value: host })
      : new pki.GeneralName({
          type: 7,
          value: new asn1.OctetString({ valueHex: addressBytes(host) }),
        }),
  );
  const value = new pki.GeneralNames({ names });
  return new pki.Extension({
    extnID: oid.subjectAltName,
    extnValue: value.toSchema().toBER(false),
  });
}

/** 4 or 16 bytes of a valid address. */
function addressBytes(address: string): ArrayBuffer {
  if (isIP(address) === 4) return new Uint8Array(address.split(".").map(Number)).buffer;
  // The URL parser writes an address in one form: no IPv4 tail, lower case.
  const canonical = new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":"));
  const front = groups(head);
  const back = groups(tail ?? "");
  const middle = Array<string>(8 - front.length - back.length).fill("0");
  const words = [...front, ...middle, ...back].map((group) => Number.parseInt(group, 16));
  return new Uint8Array(words.flatMap((word) => [word >> 8, word & 0xff])).buffer;
}

async function exportKey(key: Key): Promise<string> {
  return pemOf("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", key));
}

/** RFC 7468. */
function pemOf(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** Bytes of the first block of a PEM text. */
export function derOf(pem: string): ArrayBuffer {
  const base64 = /-----BEGIN [A-Z ]+-----([^-]*)-----END/.exec(pem)?.[1] ?? "";
  return new Uint8Array(Buffer.from(base64, "base64")).buffer;
}
