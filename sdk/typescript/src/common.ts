/** What the package offers in Node and in browsers. */

export type * from "./answers.js";
export { HEADER, render, type Renderer } from "./block.js";
export type { ConsentOptions, DecisionOptions, NoticeOptions, SignalOptions } from "./consents.js";
export { type CursorStore, MemoryCursor } from "./cursor.js";
export type { Categorizer, CommonOptions, Extractor } from "./defaults.js";
export {
  BusyError,
  ConfigurationError,
  ConflictError,
  CredentialError,
  CursorError,
  ErasedError,
  type ErrorDetail,
  InternalError,
  InvalidRequestError,
  InvalidStateError,
  type KnownReason,
  LimitReachedError,
  NotAllowedError,
  NotFoundError,
  type Reason,
  RecordingRefusedError,
  RefusedByPersonError,
  SaysoError,
  TimedOutError,
  UnavailableError,
  type Violation,
} from "./errors.js";
export type { GrantOptions, UsesFilter } from "./grants.js";
export type { Json } from "./json.js";
export { Ledger } from "./ledger.js";
export { type ExtractOptions, type KeyOptions, Person, type WhyOptions } from "./person.js";
export type { ReplyOptions } from "./reply.js";
export type { EraseOptions, ExportOptions } from "./rights.js";
export type { Status } from "./status.js";
export type { TokenSource } from "./tokens.js";
export { Use, type UseOptions } from "./use.js";
export { type OnRevoked, Watch, type WatchOptions } from "./watch.js";
