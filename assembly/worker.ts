// The base address of the worker this instance serves: beside the root of the FIB (fib.ts), the
// one mutable global of the module.

/** Address of this worker's region; every other address of a worker is an offset from it. */
export let worker: usize = 0;

/** Binds this instance to a worker. Called once, before the first run. */
export function bind(base: usize): void {
  worker = base;
}
