// Runs one program with an argument vector: never a shell. Optionally inside a network namespace,
// entered with nsenter so that only the network changes and files stay the host's.
import { execFile } from "node:child_process";
import { isAbsolute } from "node:path";
import { HostError } from "./errors.js";

/** Where `ip netns` keeps the files that hold its namespaces. */
export const NETNS_DIR = "/run/netns";

/**
 * Where to work: this process's network namespace, or one named (as `ip netns` does) or by path.
 */
export interface Where {
  netns?: string;
}

export interface RunOptions extends Where {
  /** Bytes for standard input. */
  input?: string;
  timeout_ms?: number;
}

const TIMEOUT_MS = 30_000;
/** 65,536 routes are about 12 MB of JSON. */
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024;
/** Exit status of nsenter when the program itself is not there. */
const NOT_FOUND = 127;

/** Debian package of each program that meshd calls. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  tc: "iproute2",
  nft: "nftables",
  nsenter: "util-linux",
  tee: "coreutils",
  cat: "coreutils",
  iptables: "iptables",
  "iptables-legacy": "iptables",
};

/** A service's PATH may lack the system directories where ip and nft are. */
function environment(): NodeJS.ProcessEnv {
  const path = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
  return { ...process.env, PATH: path, LC_ALL: "C" };
}

/** The file of a namespace given by name or path. Throws MESHD_HOST_BAD_VALUE for other text. */
export function namespacePath(netns: string): string {
  if (isAbsolute(netns) && !netns.includes("\0")) return netns;
  if (!/^[A-Za-z0-9_.-]{1,255}$/.test(netns) || netns === "." || netns === "..") {
    const why = "a name has letters, digits, '.', '_' and '-' only, a path begins with '/'";
    throw new HostError(
      "MESHD_HOST_BAD_VALUE",
      `network namespace ${quote(netns)} refused: ${why}`,
    );
  }
  return `${NETNS_DIR}/${netns}`;
}

/** Text for a message: quoted, no control characters, not endless. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}

/**
 * Runs a program to its end and gives its standard output.
 * Throws HostError: MESHD_HOST_COMMAND (exit status not 0, or too slow), MESHD_HOST_TOOL_MISSING.
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { netns } = options;
  const full =
    netns === undefined ? argv : ["nsenter", `--net=${namespacePath(netns)}`, "--", ...argv];
  const [file = "", ...rest] = full;
  return new Promise((resolve, fail) => {
    const child = execFile(
      file,
      rest,
      {
        timeout: options.timeout_ms ?? TIMEOUT_MS,
        maxBuffer: OUTPUT_BYTES_MAX,
        env: environment(),
        windowsHide: true,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else fail(failure(argv, full, error, stderr));
      },
    );
    // A program that ends before it read its input is reported by its exit status, not by EPIPE.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input ?? "");
  });
}

/** Like `run`, for programs that print JSON. An empty output is an empty list. */
export async function runJson(argv: readonly string[], options: RunOptions = {}): Promise<unknown> {
  const text = await run(argv, options);
  try {
    return text.trim() === "" ? [] : JSON.parse(text);
  } catch (cause) {
    const what = `${argv.join(" ")}: output is no JSON; is this an iproute2/nftables before 2020?`;
    throw new HostError("MESHD_HOST_BAD_OUTPUT", what, { argv, cause });
  }
}

function failure(
  argv: readonly string[],
  full: readonly string[],
  error: Error & { code?: string | number | null; killed?: boolean },
  stderr: string,
): HostError {
  const program = argv[0] ?? "";
  const missing = error.code === "ENOENT" ? full[0] : program;
  if (error.code === "ENOENT" || (error.code === NOT_FOUND && full !== argv)) {
    const fix = `apt-get install ${PACKAGES[missing ?? ""] ?? missing}`;
    const what = `program ${missing} is missing; install it: ${fix}`;
    return new HostError("MESHD_HOST_TOOL_MISSING", what, { argv: full, stderr, cause: error });
  }
  const first = stderr.trim().split("\n")[0] ?? "";
  const why = error.killed ? "took too long" : first === "" ? error.message.split("\n")[0] : first;
  const what = `${argv.slice(0, 12).join(" ")}: ${why}`;
  return new HostError("MESHD_HOST_COMMAND", what, { argv: full, stderr, cause: error });
}
