// Feeds: what a bucket has and how it changes, published once by each controller for all members,
// instead of one consumer of the stream for each.

export { Contents } from "./contents.js";
export { Feed, type FeedPlace } from "./follow.js";
export {
  cutRows,
  openBatch,
  type Row,
  readStretch,
  rowOf,
  type Stretch,
  sealBatch,
  stretchText,
} from "./text.js";
