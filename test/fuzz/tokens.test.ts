// What a user hands over as text: join tokens, whole and as the JSON inside, and credentials files.
import { test } from "uvu";
import { ControlError } from "../../control/errors.js";
import { signingKey } from "../../control/nats/index.js";
import { credentialsText, parseCredentials, userJwt } from "../../control/nats/jwt.js";
import { bootstrapPermissions } from "../../control/permissions.js";
import { formatToken, openToken, type TokenSecrets } from "../../control/token.js";
import { fuzzWithCorpus } from "../support/corpus.js";

/** Keys of no mesh: kept inputs carry them. */
const account = signingKey("SAAN3CSUPVQDZKHMEVDRXVBYOFVHQ2234CGXYMMGWKFBO6PIUXRMALW53U");
const SEED = "SUAKMJERFDU6XOTF5B5NKSFX6VJLDXGGNCCJBYAWCA6NI45D3FSFW7UM6M";
const tokenId = "0123456789abcdef0123456789abcdef";
const jwt = await userJwt({
  name: tokenId,
  key: signingKey(SEED).publicKey,
  account: account.publicKey,
  signer: account,
  permissions: bootstrapPermissions("mesh", tokenId),
});
const secrets: TokenSecrets = {
  ...{ meshId: "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11", mesh: "mesh", tokenId },
  ...{ servers: ["nats://192.0.2.10:4222"], expires: "2026-11-23T00:00:00.000Z" },
  bootstrap: { jwt, seed: SEED },
  ...{ accountKey: account.publicKey, grantKey: account.publicKey },
};

/** Taken, or a refusal that has the token's code. */
function opened(token: string): string {
  try {
    openToken(token);
    return "taken";
  } catch (error) {
    if (error instanceof ControlError && error.code === "MESHD_TOKEN_INVALID") return error.message;
    throw error;
  }
}

fuzzWithCorpus({
  name: "token-contents",
  seeds: [JSON.stringify(secrets), JSON.stringify({ ...secrets, expires: null })],
  inputs: 20_000,
  feed: (input) => opened(`meshd1.${Buffer.from(input).toString("base64url")}`),
});

fuzzWithCorpus({
  name: "tokens",
  seeds: [formatToken(secrets)],
  json: false,
  inputs: 20_000,
  feed: opened,
});

fuzzWithCorpus({
  name: "credentials",
  seeds: [credentialsText(jwt, SEED)],
  json: false,
  feed: (input) => {
    try {
      const { seed } = parseCredentials(input);
      signingKey(seed);
      return "taken";
    } catch (error) {
      if (error instanceof Error && error.name !== "TypeError") return error.message;
      throw error;
    }
  },
});

test.run();
