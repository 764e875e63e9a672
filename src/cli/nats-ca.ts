// The CA of NATS servers that somebody named, out of its file.
import { readFileSync } from "node:fs";
import type { Settings } from "../config/index.js";
import { CommandError } from "./command.js";

/**
 * PEM of the CAs that natsCa names, "system", or undefined when it names none.
 * @throws CommandError MESHD_NATS_CA
 */
export function givenAuthorities({ natsCa }: Pick<Settings, "natsCa">): string | undefined {
  if (natsCa === undefined || natsCa === "system") return natsCa;
  const refuse = (why: string, cause?: unknown) =>
    new CommandError(
      "MESHD_NATS_CA",
      `--nats-ca ${natsCa} ${why}; it must hold the CA's certificate as PEM`,
      { cause },
    );
  let text: string;
  try {
    text = readFileSync(natsCa, "utf8");
  } catch (cause) {
    throw refuse(`cannot be read (${cause instanceof Error ? cause.message : cause})`, cause);
  }
  if (!text.includes("-----BEGIN CERTIFICATE-----")) throw refuse("holds no certificate");
  return text;
}
