// Which controllers of the mesh live: each answers when one of them asks.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import * as check from "../check.js";
import { fieldsOf } from "../check.js";
import type { Link } from "../nats/index.js";
import { isControllerReply, subjectsOf } from "../subjects.js";

/** A controller as it says of itself. */
export interface ColleagueView {
  /** Of a cluster of meshd's own the address in its list, else the host's name. */
  host: string;
  pid: number;
  /** host:port of the nats-server that it uses now. */
  server: string;
  /** RFC 3339. */
  started: string;
}

/** They answer within milliseconds. */
const wait_ms = 700;
const shown_max = 64;

export class Colleagues {
  readonly #link: Link;
  readonly #subject: string;
  readonly #host: string;

  constructor(link: Link, mesh: string, host: string) {
    this.#link = link;
    this.#subject = subjectsOf(mesh).controllers;
    this.#host = host;
  }

  /** From now on this one answers. */
  begin(): void {
    this.#link.subscribe(this.#subject, ({ reply }) => {
      if (isControllerReply(reply)) this.#link.publish(reply as string, JSON.stringify(this.#own));
    });
  }

  get #own(): ColleagueView {
    const started = new Date(performance.timeOrigin).toISOString();
    return { host: this.#host, pid: process.pid, server: this.#link.server ?? "", started };
  }

  /** All that answer, this one too. */
  async all(): Promise<ColleagueView[]> {
    const found: ColleagueView[] = [];
    const reply = `${this.#link.inbox}.${randomBytes(8).toString("hex")}`;
    const subscription = this.#link.subscribe(reply, ({ text }) => {
      const one = read(text);
      if (one !== null && found.length < shown_max) found.push(one);
    });
    this.#link.publish(this.#subject, "", reply);
    await sleep(wait_ms);
    subscription.unsubscribe();
    return found.sort((a, b) => (`${a.host} ${a.pid}` < `${b.host} ${b.pid}` ? -1 : 1));
  }
}

function read(text: string): ColleagueView | null {
  try {
    const fields = fieldsOf(JSON.parse(text), "a controller");
    const short = (name: string) => check.text(fields, name, 256);
    const pid = check.whole(fields, "pid", 0, 2 ** 31);
    return { host: short("host"), pid, server: short("server"), started: short("started") };
  } catch {
    return null;
  }
}
