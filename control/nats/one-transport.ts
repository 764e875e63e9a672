// Keeps a connection to one transport. The stock client (2.29) forgets a dial that ran into its
// time limit while it was under way: it connects once the path is whole, the server ends it for its
// silence, and the client takes that for the end of its good connection. It dials anew beside that
// one, and both feed one parser, which then fails over pieces of messages and hears nothing more.
import type { Socket } from "node:net";
import type { NatsConnection } from "nats";

/** The part of the client's transports that is used here. */
interface Transport {
  socket?: Socket;
  connected?: boolean;
  /** Called when it is connected: from then on it is heard. */
  setupHandlers?: () => void;
}

interface Inside {
  protocol?: { transport?: Transport };
}

/** Ends a transport that is replaced, or ends it once it is connected; nobody is told of it. */
function silence(transport: Transport): void {
  transport.setupHandlers = () => transport.socket?.destroy();
  // One under way hears of its end itself and gives up.
  if (transport.connected === true) transport.socket?.removeAllListeners();
  transport.socket?.destroy();
}

/** From now on a transport ends at the latest when the connection gets another one. */
export function keepOneTransport(connection: NatsConnection): void {
  const { protocol } = connection as unknown as Inside;
  let current = protocol?.transport;
  if (protocol === undefined || current === undefined) return;
  Object.defineProperty(protocol, "transport", {
    ...{ configurable: true, enumerable: true },
    get: () => current,
    set: (next: Transport) => {
      if (current !== undefined) silence(current);
      current = next;
    },
  });
}
