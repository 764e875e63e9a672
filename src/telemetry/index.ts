// The door of telemetry: log lines, Prometheus text, a sentence for every drop reason.
export {
  type DropName,
  dropNames,
  dropReasonsPage,
  dropSentences,
  explainDrop,
  HOST_DROPS,
} from "./drops.js";
export {
  createLogger,
  eventLog,
  FIXED_FIELDS,
  LastingOutput,
  type Log,
  type LogFields,
  type LogFormat,
  type Logger,
  type LogLevel,
  type LogOptions,
} from "./log.js";
export {
  formatMetrics,
  type Labels,
  METRICS_CONTENT_TYPE,
  type MetricFamily,
  type Sample,
} from "./metrics.js";
