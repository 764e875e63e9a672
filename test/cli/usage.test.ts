// Help and wrong usage of every command: exit codes, one line per error, an example everywhere.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isGroup } from "../../src/cli/command.js";
import { forgetProcess, rememberProcess } from "../../src/cli/service/process-files.js";
import { COMMANDS } from "../../src/cli/table.js";
import { makeWorld, type World } from "./world.js";

const test = suite<{ world: World }>("usage");
test.before.each((context) => {
  context.world = makeWorld();
});
test.after.each(({ world }) => world.remove());

/** ["node", "list"] for every command there is. */
async function everyCommand(): Promise<string[][]> {
  const all: string[][] = [];
  for (const [name, entry] of Object.entries(COMMANDS)) {
    const { command } = await entry.load();
    if (!isGroup(command)) all.push([name]);
    else all.push(...Object.keys(command.commands).map((word) => [name, word]));
  }
  return all;
}

test("all commands of the design are there", () => {
  const wanted =
    "up join leave status controller node lease route token config peer pod drops lab".split(" ");
  for (const name of wanted) assert.ok(Object.hasOwn(COMMANDS, name), name);
});

test("every command has --help with usage and an example, and exit code 0", async ({ world }) => {
  const commands = await everyCommand();
  assert.ok(commands.length > 25);
  for (const words of commands) {
    for (const asked of [
      [...words, "--help"],
      [...words, "-h"],
      ["help", ...words],
    ]) {
      const { code, out, err } = await world.run(asked);
      assert.is(code, 0, asked.join(" "));
      assert.is(err, "");
      assert.match(out, `Usage: meshd ${words.join(" ")}`);
      assert.match(out, /\nExample:\n {2}.*meshd /);
      assert.match(out, "--json");
    }
  }
});

test("docs/commands.md is what 'meshd help --markdown' prints", async ({ world }) => {
  const { code, out } = await world.run(["help", "--markdown"]);
  assert.is(code, 0);
  assert.is(readFileSync("docs/commands.md", "utf8"), out);
});

test("an unknown option is wrong usage for every command: one line, exit code 2", async ({
  world,
}) => {
  for (const words of await everyCommand()) {
    const { code, out, err } = await world.run([...words, "--no-such-option"]);
    assert.is(code, 2, words.join(" "));
    assert.is(out, "");
    assert.match(err, /^meshd: there is no option --no-such-option here.*\n$/);
  }
});

test("too many words are wrong usage for every command", async ({ world }) => {
  for (const words of await everyCommand()) {
    const { code, err } = await world.run([...words, "a", "b", "c", "d"]);
    assert.is(code, 2, words.join(" "));
    assert.match(err, /^meshd: one word too many: '.'; see meshd .* --help\n$/);
  }
});

test("commands that need words refuse to run without them", async ({ world }) => {
  const needy = ["node show", "node drain", "node remove", "node rename", "token revoke"];
  for (const words of [
    ...needy,
    "peer add",
    "peer remove",
    "pod add",
    "pod remove",
    "config set",
  ]) {
    const { code, err } = await world.run(words.split(" "));
    assert.is(code, 2, words);
    assert.match(err, /^meshd: a word is missing: .*see meshd .* --help\n$/);
  }
});

test("without a command the help goes to standard error with exit code 2", async ({ world }) => {
  const none = await world.run([]);
  assert.is(none.code, 2);
  assert.is(none.out, "");
  const help = await world.run(["--help"]);
  assert.is(help.code, 0);
  assert.is(help.out, none.err);
  for (const name of Object.keys(COMMANDS))
    assert.match(help.out, new RegExp(`^ {2}${name} `, "m"));
});

test("an unknown command names the nearest one", async ({ world }) => {
  assert.match((await world.run(["statsu"])).err, /did you mean status\?/);
  assert.match((await world.run(["node", "lst"])).err, /'meshd node lst'; did you mean list\?/);
  assert.match((await world.run(["node"])).err, /node needs one of: list, show/);
  assert.is((await world.run(["constructor"])).code, 2);
  assert.is((await world.run(["node", "toString"])).code, 2);
});

test("options of every command may stand before the command", async ({ world }) => {
  const { json } = await world.run(["--run-dir", world.runDir, "--json", "version"]);
  assert.is((json as { version: string }).version, "9.9.9");
  assert.is((await world.run(["--version"])).out.split(" ")[1], "9.9.9");
});

test("a flag goes by the setting's own name, too, and by = or a space", async ({ world }) => {
  for (const flag of [["--runDir", "/x"], ["--runDir=/x"], ["--run-dir", "/x"], ["--run-dir=/x"]]) {
    assert.match(
      (await world.run(["status", ...flag])).err,
      /no agent runs here \(\/x\/agent.sock\)/,
    );
  }
});

test("values that are missing, doubled or not wanted are wrong usage", async ({ world }) => {
  const cases: [string[], RegExp][] = [
    [["status", "--run-dir"], /--run-dir needs a value/],
    [["status", "--run-dir", "--json"], /--run-dir needs a value/],
    [["status", "--run-dir", "/a", "--run-dir", "/b"], /--run-dir is given twice/],
    [["status", "--json=yes"], /--json takes no value/],
    [["join", "--workers", "many"], /workers: value "many" is refused, allowed: a whole number/],
    [["join", "--vni", "7"], /--vni is a setting of the whole mesh; use 'meshd config set vni/],
    [["join", "a-token", "--token-file", "/f"], /exclude each other/],
    [["token", "create", "--expires", "soon"], /--expires: value "soon" is refused/],
    [["token", "create", "--uses", "0"], /--uses: value "0" is refused/],
    [["token", "create", "--role", "king"], /--role: value "king" is refused, allowed: node/],
    [["peer", "add", "p"], /--endpoint, --cidr, --mac are missing/],
    [["peer", "add", "p", "--cidr", "10.9.0.0/24", "--endpoint", "192.0.2.1"], /--mac is missing/],
    [["config", "set", "greKey", "-12"], /greKey: value "-12" is refused, allowed: a whole number/],
    [["join", "--workers", "-1"], /workers: value "-1" is refused, allowed/],
    [
      ["peer", "add", "p", "--cidr", "10.9.0.0/24", "--protocol", "ipip", "--port", "8472"],
      /--port: ipip has none; leave it out/,
    ],
    [["pod", "add", "Not_A_Label"], /NAME: value "Not_A_Label" is refused, allowed: one DNS label/],
    [["pod", "add", "p", "--label", "x"], /--label x: allowed is KEY=VALUE/],
    [["config", "set", "mtu", "3"], /mtu: value "3" is refused, allowed: auto/],
    [["config", "get", "tunelPort"], /did you mean tunnelPort\?/],
    [["config", "set", "deviceName", "x"], /setting of one node; give it to 'meshd join/],
  ];
  for (const [words, message] of cases) {
    const { code, err } = await world.run(words);
    assert.match(err, message);
    assert.is(code, 2, words.join(" "));
    assert.is(err.trimEnd().split("\n").length, 1);
  }
});

test("a damaged state of a controller that runs is an error that says what to do", async ({
  world,
}) => {
  const { runDir } = world;
  const place = { stateDir: runDir, runDir };
  writeFileSync(join(runDir, "controller.json"), "{");
  assert.match((await world.run(["status"])).err, /no agent runs here/, "none runs");
  rememberProcess(place, "controller");
  const { code, err } = await world.run(["status"]);
  forgetProcess(place, "controller");
  assert.is(code, 1);
  assert.match(err, /controller.json is damaged: run 'meshd down', then 'meshd up'/);
});

test("a file that is not there, or is a folder, is named with what to do", async ({ world }) => {
  const none = join(world.dir, "none", "file");
  for (const words of [
    ["sysdump", "--output", none],
    ["admin", "take", none],
  ]) {
    const { code, err } = await world.run(words);
    assert.is(code, 1, words.join(" "));
    assert.match(err, /^meshd: .*none\/file.*check the path\n$/);
  }
  const below = join(world.dir, "file", "below");
  writeFileSync(join(world.dir, "file"), "");
  const { err } = await world.run(["sysdump", "--output", below]);
  assert.match(err, /file\/below: a part of this path is no folder; check it\n$/);
});

test("with --json an error is on standard output as well, with its code", async ({ world }) => {
  const { code, json, err } = await world.run(["status", "--json"]);
  assert.is(code, 1);
  const { error } = json as { error: { code: string; message: string } };
  assert.is(error.code, "MESHD_AGENT_DOWN");
  assert.is(err, `meshd: ${error.message}\n`);
});

test("commands for the controllers say what to do on a host that has no mesh", async ({
  world,
}) => {
  const commands = [
    "node list",
    "lease list",
    "route list",
    "token create",
    "config get",
    "peer list",
  ];
  for (const words of commands) {
    const { code, err } = await world.run(words.split(" "));
    assert.is(code, 1, words);
    assert.match(
      err,
      words === "route list" ? /no agent runs here/ : /run this where 'meshd up' ran/,
    );
  }
});

test("bin/meshd says what to do where nothing is built", ({ world }) => {
  mkdirSync(join(world.dir, "bin"));
  copyFileSync("bin/meshd", join(world.dir, "bin", "meshd.mjs"));
  const argv = [join(world.dir, "bin", "meshd.mjs"), "status"];
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  assert.is(status, 1);
  assert.is(stderr, "meshd: it is not built here (dist/ is missing); run 'npm run setup'\n");
});

test("bin/meshd runs the program and passes its exit code on", () => {
  const run = (...words: string[]) => spawnSync("bin/meshd", words, { encoding: "utf8" });
  const version = run("version", "--json");
  const { version: expected } = JSON.parse(readFileSync("package.json", "utf8"));
  assert.is((JSON.parse(version.stdout) as { version: string }).version, expected);
  assert.equal([version.status, run("--nonsense").status], [0, 2]);
});

test.run();
