/** The messages and services of the whole API, generated from its proto files. */

export * from "./generated/sayso/v1/audit_pb.js";
export * from "./generated/sayso/v1/bounds_pb.js";
export * from "./generated/sayso/v1/common_pb.js";
export * from "./generated/sayso/v1/consent_pb.js";
export * from "./generated/sayso/v1/events_pb.js";
export * from "./generated/sayso/v1/grant_pb.js";
export * from "./generated/sayso/v1/limits_pb.js";
export * from "./generated/sayso/v1/operator_pb.js";
export * from "./generated/sayso/v1/profile_pb.js";
export * from "./generated/sayso/v1/rights_pb.js";
