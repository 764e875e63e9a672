// Both sides of an authentication on one desk: frames cross at once or by hand, and what the sides
// said is kept.
import {
  type Account,
  type AuthFailure,
  type AuthMachine,
  type AuthMethod,
  type AuthSuccess,
  createAuthenticator,
  createAuthPeer,
  ntHash,
  type PeerSecret,
} from "../../src/ppp/auth/index.js";

export const methods: AuthMethod[] = ["ms-chap-v2", "ms-chap-v1", "chap-md5", "pap"];

/** One side, what it sent and what it told its link. */
export interface Side {
  machine: AuthMachine;
  sent: Uint8Array[];
  done: AuthSuccess[];
  failed: AuthFailure[];
}

function side(make: (events: Parameters<typeof createAuthPeer>[1]) => AuthMachine): Side {
  const heard = {
    sent: [] as Uint8Array[],
    done: [] as AuthSuccess[],
    failed: [] as AuthFailure[],
  };
  const machine = make({
    send: (frame) => heard.sent.push(frame),
    done: (success) => heard.done.push(success),
    failed: (failure) => heard.failed.push(failure),
  });
  return { machine, ...heard };
}

export function account(password: string, more: Partial<Account> = {}): Account {
  return { ntHash: ntHash(password), clear: password, ...more };
}

/** The side that asks for proof; knows "ada". */
export function asking(method: AuthMethod, known: Account | null, random?: Random): Side {
  const verifier = { lookup: (user: string) => (user === "ada" ? known : null) };
  const options = { method, name: "meshd", verifier, ...(random ? { random } : {}) };
  return side((events) => createAuthenticator(options, events));
}

export type Random = (count: number) => Uint8Array;

export function proving(
  method: AuthMethod,
  secret: PeerSecret,
  more: { user?: string; random?: Random } = {},
): Side {
  const options = { method, user: "ada", secret, ...more };
  return side((events) => createAuthPeer(options, events));
}

/** Hands over what was sent until both are silent; at most a hundred frames. */
export function exchange(one: Side, other: Side, now_ms = 0): void {
  const at = new Map([
    [one, 0],
    [other, 0],
  ]);
  for (let frames = 0; frames < 100; frames++) {
    const from = [one, other].find((each) => (at.get(each) ?? 0) < each.sent.length);
    if (!from) return;
    const index = at.get(from) ?? 0;
    at.set(from, index + 1);
    const to = from === one ? other : one;
    const frame = from.sent[index];
    if (frame) to.machine.receive(frame, now_ms);
  }
}

/** Both sides started, all frames handed over. */
export function meet(server: Side, client: Side): void {
  server.machine.start(0);
  client.machine.start(0);
  exchange(server, client);
}
