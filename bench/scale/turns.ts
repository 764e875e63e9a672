// Agents of one process take turns in planning, as the kernel lets processes do: between two plans
// sockets are read. Else hundreds of plans in a row keep all others from answering their server.

const waiting: (() => void)[] = [];
let isRunning = false;

function next(): void {
  const work = waiting.shift();
  isRunning = work !== undefined;
  if (work === undefined) return;
  work();
  setImmediate(next);
}

/** Runs it in its turn. */
export function inTurn(work: () => void): void {
  waiting.push(work);
  if (isRunning) return;
  isRunning = true;
  setImmediate(next);
}
