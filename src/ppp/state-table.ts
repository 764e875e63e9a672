// The option negotiation automaton as RFC 1661 section 4.1 prints it: one row an event, one column
// a state, "actions/next state". A dash is an event that cannot happen there.

export const State = {
  INITIAL: 0,
  STARTING: 1,
  CLOSED: 2,
  STOPPED: 3,
  CLOSING: 4,
  STOPPING: 5,
  REQ_SENT: 6,
  ACK_RCVD: 7,
  ACK_SENT: 8,
  OPENED: 9,
} as const;
export type State = (typeof State)[keyof typeof State];

export type Action =
  | "tlu"
  | "tld"
  | "tls"
  | "tlf"
  | "irc"
  | "zrc"
  | "scr"
  | "sca"
  | "scn"
  | "str"
  | "sta"
  | "scj"
  | "ser";

export interface Cell {
  actions: readonly Action[];
  next: State;
}

/** States 0 to 5; the lines are those of the RFC. */
const LOWER = `
  event 0     1         2         3             4     5
  Up    2     irc,scr/6 -         -             -     -
  Down  -     -         0         tls/1         0     1
  Open  tls/1 1         irc,scr/6 3             5     5
  Close 0     tlf/0     2         2             4     4
  TO+   -     -         -         -             str/4 str/5
  TO-   -     -         -         -             tlf/2 tlf/3
  RCR+  -     -         sta/2     irc,scr,sca/8 4     5
  RCR-  -     -         sta/2     irc,scr,scn/6 4     5
  RCA   -     -         sta/2     sta/3         4     5
  RCN   -     -         sta/2     sta/3         4     5
  RTR   -     -         sta/2     sta/3         sta/4 sta/5
  RTA   -     -         2         3             tlf/2 tlf/3
  RUC   -     -         scj/2     scj/3         scj/4 scj/5
  RXJ+  -     -         2         3             4     5
  RXJ-  -     -         tlf/2     tlf/3         tlf/2 tlf/3
  RXR   -     -         2         3             4     5
`;

/** States 6 to 9. */
const UPPER = `
  event 6         7         8         9
  Up    -         -         -         -
  Down  1         1         1         tld/1
  Open  6         7         8         9
  Close irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
  TO+   scr/6     scr/6     scr/8     -
  TO-   tlf/3     tlf/3     tlf/3     -
  RCR+  sca/8     sca,tlu/9 sca/8     tld,scr,sca/8
  RCR-  scn/6     scn/7     scn/6     tld,scr,scn/6
  RCA   irc/7     scr/6     irc,tlu/9 tld,scr/6
  RCN   irc,scr/6 scr/6     irc,scr/8 tld,scr/6
  RTR   sta/6     sta/6     sta/6     tld,zrc,sta/5
  RTA   6         6         8         tld,scr/6
  RUC   scj/6     scj/7     scj/8     scj/9
  RXJ+  6         6         8         9
  RXJ-  tlf/3     tlf/3     tlf/3     tld,irc,str/5
  RXR   6         7         8         ser/9
`;

export type Event =
  | "Up"
  | "Down"
  | "Open"
  | "Close"
  | "TO+"
  | "TO-"
  | "RCR+"
  | "RCR-"
  | "RCA"
  | "RCN"
  | "RTR"
  | "RTA"
  | "RUC"
  | "RXJ+"
  | "RXJ-"
  | "RXR";

function cellOf(text: string): Cell | null {
  if (text === "-") return null;
  const parts = text.split("/");
  const actions = parts.length === 2 ? ((parts[0] ?? "").split(",") as Action[]) : [];
  return { actions, next: Number(parts.at(-1)) as State };
}

/** Event -> cells of a half, by its columns. */
function readHalf(text: string): Map<string, (Cell | null)[]> {
  const lines = text.trim().split("\n").slice(1);
  const words = lines.map((line) => line.trim().split(/\s+/));
  return new Map(words.map(([event = "", ...cells]) => [event, cells.map(cellOf)]));
}

const upper = readHalf(UPPER);
const TABLE = new Map(
  [...readHalf(LOWER)].map(([event, cells]) => [event, [...cells, ...(upper.get(event) ?? [])]]),
);

/** What an event does in a state, or null where it cannot happen. */
export function cellAt(event: Event, state: State): Cell | null {
  return TABLE.get(event)?.[state] ?? null;
}
