// A NATS micro service (ADR-32): named endpoints that answer JSON or an error in headers.
import type { Service } from "nats";
import type { Link } from "./link.js";
import { type Message, readMessage } from "./message.js";

export interface Endpoint {
  /** Name that `nats micro info` shows. */
  name: string;
  subject: string;
  /**
   * The answer; undefined = no answer at all. Thrown errors are answered through `toError`.
   */
  handle(request: Message): Promise<string | Uint8Array | undefined>;
}

export interface ServiceOptions {
  name: string;
  version: string;
  description: string;
  metadata: Record<string, string>;
  endpoints: Endpoint[];
  /** An error as number and text. */
  toError(error: unknown): { code: number; text: string };
}

/**
 * Starts answering; resolves when the server has the subscriptions. The function returned stops it.
 */
export async function serve(link: Link, options: ServiceOptions): Promise<() => Promise<void>> {
  const { name, version, description, metadata } = options;
  const service: Service = await link.connection.services.add({
    name,
    version,
    description,
    metadata,
  });
  for (const endpoint of options.endpoints) {
    service.addEndpoint(endpoint.name, {
      subject: endpoint.subject,
      handler: (error, message) => {
        if (error) return;
        endpoint
          .handle(readMessage(message))
          // Throws when the answer is longer than this server takes.
          .then((text) => text !== undefined && message.respond(text))
          .catch((thrown: unknown) => {
            const { code, text } = options.toError(thrown);
            message.respondError(code, text);
          });
      },
    });
  }
  await link.connection.flush();
  return async () => {
    await service.stop();
  };
}
