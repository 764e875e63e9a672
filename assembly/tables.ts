// Which of the two copies of the tables this run works with.
import * as fib from "./fib";
import { C_GENERATION, C_TABLES_AT, CONTROL, W_GENERATION, W_TABLES } from "./shared/layout";
import { worker } from "./worker";

/**
 * Reads the generation once and reports it back: from here to the next call this worker uses that
 * copy and no other, so the control thread may refill the other as soon as it sees the number.
 */
export function refresh(): void {
  const generation = atomic.load<u32>(CONTROL, C_GENERATION);
  const copy: usize = generation & 1;
  const tables = load<u32>(CONTROL + copy * 4, C_TABLES_AT);
  store<u32>(worker, tables, W_TABLES);
  fib.use(tables);
  atomic.store<u32>(worker, generation, W_GENERATION);
}

/** Generation of the tables that this run works with. */
export function generation(): u32 {
  return load<u32>(worker, W_GENERATION);
}
