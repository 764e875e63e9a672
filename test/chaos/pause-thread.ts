// Stops one thread of a process from outside, as a hang would, while its others go on: SIGSTOP
// knows whole processes only, so a tracer holds it. Perl, which every Debian has, is that tracer.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Numbers of system calls by machine (ptrace, epoll_wait or epoll_pwait). */
const CALLS: Readonly<Record<string, { ptrace: number; wait: readonly number[] }>> = {
  x64: { ptrace: 101, wait: [232, 281, 441] },
  arm64: { ptrace: 117, wait: [22, 441] },
};
const [TRACEME, SEIZE, INTERRUPT] = [0, 0x4206, 0x4207];
/** So many events libuv asks for at once; workers wait for less. */
const LOOP_EVENTS = 1024;
const FIND_LIMIT_MS = 5000;
/** Also a tracer whose master is gone lets go. */
const HOLD_LIMIT_S = 120;

const calls = () => CALLS[process.arch];
const perl = (text: string) => ["-e", text];

/** Why no thread can be stopped here. */
export function unstoppable(): string | undefined {
  const { ptrace } = calls() ?? {};
  if (ptrace === undefined) return `no thread can be stopped on ${process.arch}`;
  const tried = spawnSync(
    "perl",
    perl(`exit(syscall(${ptrace}, ${TRACEME}, 0, 0, 0) == 0 ? 0 : 1)`),
  );
  return tried.status === 0 ? undefined : "needs perl and the right to trace processes";
}

/** It waits in a poller that is not libuv's: a thread that moves packets. */
function movesPackets(pid: number, thread: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/task/${thread}/syscall`, "utf8");
    const [number, , , events] = text.split(" ").map(Number);
    return (calls()?.wait ?? []).includes(number ?? -1) && (events ?? LOOP_EVENTS) < LOOP_EVENTS;
  } catch {
    return false;
  }
}

/** The threads of an agent that move packets. */
export async function workerThreads(pid: number): Promise<number[]> {
  const deadline = Date.now() + FIND_LIMIT_MS;
  for (;;) {
    const threads = readdirSync(`/proc/${pid}/task`).map(Number);
    const found = threads.filter((thread) => movesPackets(pid, thread));
    if (found.length > 0 || Date.now() > deadline) return found.sort((a, b) => a - b);
    await sleep(1);
  }
}

export function isHeld(pid: number, thread: number): boolean {
  return /^State:\s+t/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"));
}

/** Stops a thread until the tracer that is given back ends. */
export async function holdThread(thread: number): Promise<ChildProcess> {
  const ask = (what: number) => `syscall(${calls()?.ptrace}, ${what}, ${thread}, 0, 0) == 0`;
  const text = [
    "$| = 1; $SIG{PIPE} = 'DEFAULT'",
    `${ask(SEIZE)} or die "$!\\n"; ${ask(INTERRUPT)} or die "$!\\n"`,
    `print "held\\n"; alarm ${HOLD_LIMIT_S}; <STDIN>`,
  ].join("; ");
  const tracer = spawn("perl", perl(text), { stdio: ["pipe", "pipe", "inherit"] });
  const answer = await Promise.race([once(tracer.stdout, "data"), once(tracer, "exit")]);
  if (String(answer[0]).trim() !== "held") throw new Error(`thread ${thread} cannot be stopped`);
  return tracer;
}
