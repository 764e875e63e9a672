// How often somebody may try a wrong password: counted by source address and by user name, whose
// case means nothing, in bounded memory. Pure: the clock is its caller's.

export interface TryLimits {
  /** Failed tries in `window_ms` after which nothing more of that source, or user, is taken. */
  perSource: number;
  perUser: number;
  window_ms: number;
  /** Entries remembered of each kind; the oldest is forgotten first. */
  entriesMax: number;
}

export const TRY_LIMITS: TryLimits = {
  perSource: 5,
  perUser: 20,
  window_ms: 60_000,
  entriesMax: 4096,
};

interface Count {
  failed: number;
  since_ms: number;
}

export class FailedTries {
  private readonly sources = new Map<string, Count>();
  private readonly users = new Map<string, Count>();
  /** "user source" that did succeed: guesses from elsewhere do not lock such a user out. */
  private readonly known = new Set<string>();

  constructor(private readonly limits: TryLimits = TRY_LIMITS) {}

  /** Whether a source failed so often that it is not heard now. */
  refusesSource(source: string, now_ms: number): boolean {
    return this.isOver(this.sources, source, this.limits.perSource, now_ms);
  }

  /** Whether tries for a user from that source are not looked at now. */
  refusesUser(user: string, source: string, now_ms: number): boolean {
    const name = user.toLowerCase();
    if (this.known.has(`${name} ${source}`)) return false;
    return this.isOver(this.users, name, this.limits.perUser, now_ms);
  }

  failed(user: string | null, source: string, now_ms: number): void {
    this.count(this.sources, source, now_ms);
    if (user !== null) this.count(this.users, user.toLowerCase(), now_ms);
  }

  /** What the source failed at before stays counted: its other tries may be for other users. */
  succeeded(user: string, source: string): void {
    const key = `${user.toLowerCase()} ${source}`;
    this.known.delete(key);
    this.known.add(key);
    const oldest = this.known.values().next();
    if (this.known.size > this.limits.entriesMax && !oldest.done) this.known.delete(oldest.value);
  }

  private isOver(counts: Map<string, Count>, key: string, most: number, now_ms: number): boolean {
    const count = counts.get(key);
    if (count === undefined || now_ms - count.since_ms >= this.limits.window_ms) return false;
    return count.failed >= most;
  }

  private count(counts: Map<string, Count>, key: string, now_ms: number): void {
    const before = counts.get(key);
    const isOld = before === undefined || now_ms - before.since_ms >= this.limits.window_ms;
    const count = isOld ? { failed: 0, since_ms: now_ms } : before;
    count.failed++;
    // The newest stands last.
    counts.delete(key);
    counts.set(key, count);
    const oldest = counts.keys().next();
    if (counts.size > this.limits.entriesMax && !oldest.done) counts.delete(oldest.value);
  }
}
