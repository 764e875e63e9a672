// Every limit of a bench. Units last.

/** A session ends after this, whatever it is doing; the asker opens one for each measurement. */
export const LIFETIME_MS = 120_000;
/** A session whose asker is silent for so long has lost him. */
export const SILENCE_MS = 5_000;
/** The asker looks this often. */
export const LOOK_MS = 400;
/** How long the child of a session may take until it is ready. */
export const START_MS = 8_000;

/** `--seconds`: of one transfer, on one network. Two of them and a search fit a session. */
export const SECONDS_DEFAULT = 3;
export const SECONDS_MAX = 20;

/** Bytes that open every connection and begin every datagram. */
export const TOKEN_BYTES = 16;
/** The session's own secret, which opens the connection between both children. */
export const SECRET_BYTES = 32;
/** A stranger has so long to say it. */
export const GREETING_MS = 2_000;
/** Longest line between the children. */
export const LINE_BYTES_MAX = 16_384;
/** Time for one answer between the children, beside what it waits for. */
export const ANSWER_MS = 5_000;

/** One write of a TCP sender; about what a socket buffer takes at once. */
export const WRITE_BYTES = 131_072;
/** How long a sink waits for its connection. */
export const ACCEPT_MS = 5_000;
/** Threads look at their flag this often. */
export const SLICE_MS = 100;
/** What is still on its way after a flood is waited for until nothing came for so long. */
export const QUIET_MS = 200;
export const DRAIN_MS = 3_000;

/** Share of packets that may be lost where we say "no loss". */
export const LOSS_MAX = 0.005;
/** Halvings of the interval below the flood's rate. */
export const SEARCH_STEPS = 6;
export const STEP_SECONDS_MIN = 0.25;
export const STEP_SECONDS_MAX = 1;

export const PING_INTERVAL_MS = 2;
export const PINGS_MAX = 1_500;
