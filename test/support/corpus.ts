// Fuzzing with a corpus that is kept: test/corpus/NAME.json has an input for each outcome that was
// ever seen, with that outcome. Each run replays all of it, then spoils what is there. An outcome
// that is new is said; MESHD_FUZZ_KEEP=1 adds its input to the file.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { spoilJson, spoilText } from "./mutate.js";
import { type Random, seededRandom } from "./random.js";

export interface Target {
  /** Names the corpus file. */
  name: string;
  /** Inputs that are right; they begin the corpus. */
  seeds: readonly string[];
  /** Inputs that are refused, to begin with as well. */
  examples?: readonly string[];
  /**
   * Takes an input and says what came of it: "taken", or why it was refused. What it throws is a
   * finding.
   */
  feed: (input: string) => string | Promise<string>;
  /** Inputs are JSON: most are spoiled by structure. Default true. */
  json?: boolean;
  inputs?: number;
  /** What came before changes what comes of an input: kept ones are fed, not compared. */
  hasState?: boolean;
}

interface KeptInput {
  outcome: string;
  input: string;
}

/** Inputs of each parser. MESHD_FUZZ_INPUTS asks for another number. */
const INPUTS = Number(process.env.MESHD_FUZZ_INPUTS ?? 50_000);
const OUTCOME_LENGTH_MAX = 1200;
const KEPT_INPUT_MAX = 20_000;

const fileOf = (name: string) => new URL(`../../../test/corpus/${name}.json`, import.meta.url);

function keptOf(name: string): KeptInput[] {
  const file = fileOf(name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as KeptInput[]) : [];
}

/** Where refusals quote what they got: inputs that differ in that alone have one outcome. */
const QUOTED: readonly (readonly [RegExp, string])[] = [
  [/(is no valid YAML: ).*/s, "$1_"],
  [/^(\w+: )?.* is .*, not a label value/s, "$1_ is _, not a label value"],
  [/ is .*, not /s, " is _, not "],
  [/value .* is refused/s, "value _ is refused"],
  [/: .* is not allowed/s, ": _ is not allowed"],
  [/^.* is no setting/s, "_ is no setting"],
  [/^.*: there is no such setting.*/s, "_: there is no such setting"],
  [/ under \S+/, " under _"],
  [/: .* is (there twice|no address)/s, ": _ is $1"],
  [/(field \w+)\..* is no text/s, "$1._ is no text"],
  [/\b(Unexpected|Expected|Bad|Unterminated|No number|Invalid|Missing|Exponent) .*/s, "no JSON"],
  [/"(?:[^"\\]|\\.)*"/g, '"_"'],
  [/-?\d[\d.eE+-]*/g, "N"],
];

/** A refusal without what it quotes. */
export function outcomeOf(text: string): string {
  return QUOTED.reduce((now, [found, by]) => now.replace(found, by), text).slice(0, 200);
}

/** What a text field's end makes of the language's own objects, if a parser was careless. */
function assertUnharmed(input: string): void {
  const harmed =
    Object.keys(Object.prototype).length > 0 || Object.keys(Array.prototype).length > 0;
  assert.not(harmed, `it changed the language's prototypes: ${input.slice(0, 500)}`);
}

class CorpusRun {
  readonly outcomes = new Map<string, string>();
  readonly pool: string[];

  constructor(
    readonly target: Target,
    kept: readonly KeptInput[],
  ) {
    for (const { outcome, input } of kept) this.outcomes.set(outcome, input);
    const { seeds, examples = [] } = target;
    this.pool = [...seeds, ...examples, ...kept.map(({ input }) => input)];
  }

  async feed(input: string): Promise<string> {
    let said: string;
    try {
      said = await this.target.feed(input);
    } catch (error) {
      process.stdout.write(`finding in ${this.target.name}: ${JSON.stringify(input)}\n`);
      throw error;
    }
    assert.ok(said.length > 0 && said.length < OUTCOME_LENGTH_MAX, `${said.length}: ${said}`);
    const outcome = outcomeOf(said);
    if (!this.outcomes.has(outcome) && input.length <= KEPT_INPUT_MAX) {
      this.outcomes.set(outcome, input);
      this.pool.push(input);
    }
    return outcome;
  }

  spoiled(random: Random): string {
    const input = random.pick(this.pool);
    if (this.target.json === false || random.once(5)) return spoilText(random, input);
    try {
      return JSON.stringify(spoilJson(random, JSON.parse(input)));
    } catch {
      return spoilText(random, input);
    }
  }

  keep(): void {
    const kept = [...this.outcomes].map(([outcome, input]) => ({ outcome, input }));
    kept.sort((a, b) => (a.outcome < b.outcome ? -1 : 1));
    writeFileSync(fileOf(this.target.name), `${JSON.stringify(kept, null, 1)}\n`);
  }
}

/** The suite of one parser: two tests. */
export function fuzzWithCorpus(target: Target): void {
  const kept = keptOf(target.name);
  const run = new CorpusRun(target, kept);

  test(`${target.name}: each kept input has its outcome, and what is right is taken`, async () => {
    for (const seed of target.seeds) {
      assert.is(await run.feed(seed), "taken", seed.slice(0, 300));
    }
    const others: KeptInput[] = [];
    for (const one of kept) if ((await run.feed(one.input)) !== one.outcome) others.push(one);
    // The corpus is made anew where a message was changed on purpose.
    if (process.env.MESHD_FUZZ_KEEP === "1" || target.hasState) others.splice(0);
    assert.equal(others, []);
    assert.ok(kept.length > 1 || process.env.MESHD_FUZZ_KEEP === "1", "there is no corpus");
  });

  test(`${target.name}: spoiled inputs are taken or refused with a reason`, async () => {
    const random = seededRandom(`corpus of ${target.name}`);
    const known = run.outcomes.size;
    const inputs = target.inputs ?? INPUTS;
    for (let i = 0; i < inputs; i++) {
      const input = run.spoiled(random);
      await run.feed(input);
      if (i % 1000 === 0) assertUnharmed(input);
    }
    assertUnharmed("the last ones");
    const news = run.outcomes.size - known;
    process.stdout.write(
      `\nfuzzed ${target.name}: ${inputs} inputs, ${run.outcomes.size} outcomes, ${news} of them ` +
        `new (MESHD_FUZZ_SEED=${random.seed})\n`,
    );
    if (process.env.MESHD_FUZZ_KEEP === "1") run.keep();
  });
}
