// What a worker's JavaScript heap holds and how much was ever allocated there. The thread measures
// itself when it is asked to; between two measurements nothing is done but V8's own counting.
import v8 from "node:v8";

/** Of one worker thread; counted since it started to forward. Bytes. */
export interface WorkerHeap {
  /** In use now, garbage that was not collected yet included. */
  used: number;
  /**
   * Allocated since the start, garbage included, without what measuring itself needs. It grows with
   * changes of tables and handles, with packets for the control thread and while V8 still compiles;
   * packets that are forwarded allocate nothing.
   */
  allocated: number;
  /** Held outside of the heap by objects of it: buffers. */
  external: number;
  /** V8's own memory. */
  malloced: number;
  /** Garbage collections, small and large. */
  collections: number;
}

/** Counts for the thread that makes it. */
export class HeapMeter {
  readonly #profiler = new v8.GCProfiler();
  #allocated = 0;
  #collections = 0;
  #usedBefore = 0;

  constructor() {
    this.#go();
  }

  /** What is to be measured goes on from here: all that came since the last `read` is forgotten. */
  #go(): void {
    this.#profiler.start();
    this.#usedBefore = v8.getHeapStatistics().used_heap_size;
  }

  /**
   * Reads the counters and goes on. `send` gets them and belongs to the measuring, not to the
   * measured. V8 keeps some kilobytes of record for each collection until they are read: a caller
   * that nobody asks reads now and then all the same.
   */
  read(send: (heap: WorkerHeap) => void): void {
    const now = v8.getHeapStatistics();
    const { statistics } = this.#profiler.stop();
    let freed = 0;
    for (const { beforeGC, afterGC } of statistics) {
      freed += beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
    }
    this.#collections += statistics.length;
    this.#allocated += now.used_heap_size - this.#usedBefore + freed;
    send({
      used: now.used_heap_size,
      allocated: this.#allocated,
      external: now.external_memory,
      malloced: now.malloced_memory,
      collections: this.#collections,
    });
    this.#go();
  }
}
