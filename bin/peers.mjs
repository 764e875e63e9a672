// Fetches wireguard-go of Debian 13 for the bench, whatever this system's release is: older ones
// have no UDP offloads. apt checks signatures and hashes, with settings and lists of its own; the
// program is unpacked into node_modules/.cache and never installed.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, tryStep } from "./steps.mjs";

const RELEASE = { codename: "trixie", title: "Debian 13" };
const PACKAGE = "wireguard-go";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Columns of apt's own list of what it fetches. */
const COLUMNS = "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)";

async function mirrorsOf() {
  const text = await run("apt-get", ["indextargets", "--format", COLUMNS, "Created-By: Packages"]);
  return text
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([origin, part, name]) => origin === "Debian" && part === "main" && /^\w+$/.test(name))
    .map((columns) => columns[3]);
}

/** Where this system gets its own packages from: the mirror that surely can be reached. */
async function findMirror() {
  const known = await mirrorsOf();
  if (known.length > 0) return known[0];
  await run("apt-get", ["update", "-q"]);
  const [mirror] = await mirrorsOf();
  if (mirror === undefined) throw new Error("this system's apt has no Debian mirror to ask");
  return mirror;
}

/** Settings that keep apt away from the system's sources, lists and cache. */
function writeSettings(folder, mirror) {
  for (const name of ["lists/partial", "archives/partial"]) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const source = `deb [signed-by=${KEYRING}] ${mirror} ${RELEASE.codename} main\n`;
  writeFileSync(join(folder, "sources.list"), source);
  const settings = {
    "Dir::Etc::sourcelist": join(folder, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State::lists": join(folder, "lists"),
    "Dir::Cache": folder,
    "APT::Sandbox::User": "root",
    // Else an unreachable mirror is a warning, and a package that nobody has.
    "APT::Update::Error-Mode": "any",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  writeFileSync(join(folder, "apt.conf"), lines.join(""));
}

/** Downloads into `folder`. @returns the archive's file name */
async function download(folder) {
  if (!existsSync(KEYRING)) throw new Error(`${KEYRING} is missing: no way to check signatures`);
  writeSettings(folder, await findMirror());
  const env = { ...process.env, APT_CONFIG: join(folder, "apt.conf") };
  await run("apt-get", ["update", "-q"], { env });
  await run("apt-get", ["download", "-q", PACKAGE], { env, cwd: folder });
  const archive = readdirSync(folder).find((name) => name.endsWith(".deb"));
  if (archive === undefined) throw new Error(`apt-get download ${PACKAGE} left no archive`);
  return archive;
}

async function unpack(folder, target) {
  const archive = join(folder, await download(folder));
  const version = (await run("dpkg-deb", ["--field", archive, "Version"])).trim();
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  await run("dpkg-deb", ["--extract", archive, target]);
  writeFileSync(join(target, "package.txt"), `${RELEASE.title} package ${PACKAGE} ${version}\n`);
  await run(join(target, "usr/bin", PACKAGE), ["--version"]);
}

/** apt's first complaint, else the last line. */
function reasonOf({ message }) {
  const lines = message.trim().split("\n");
  return lines.find((line) => /^E: /.test(line)) ?? lines.at(-1);
}

/** Unpacks the peer below `cache` once; a failure is noted there for the bench's report to say. */
export async function fetchPeers(cache) {
  const target = join(cache, PACKAGE);
  const note = join(cache, `${PACKAGE}.failed`);
  if (existsSync(join(target, "package.txt"))) return;
  mkdirSync(cache, { recursive: true });
  rmSync(note, { force: true });
  const folder = mkdtempSync(join(tmpdir(), "meshd-peers-"));
  const what = `${PACKAGE} of ${RELEASE.title}, unpacked below ${cache}`;
  const error = await tryStep(what, () => unpack(folder, target));
  rmSync(folder, { recursive: true, force: true });
  if (error === undefined) return;
  rmSync(target, { recursive: true, force: true });
  writeFileSync(note, `${reasonOf(error)}\n`);
  process.stderr.write(`     it stays out of the bench: ${reasonOf(error)}\n`);
}
