/** Converts between the types of the API and those of this package. */

import { create, type DescEnum, type EnumShape, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { WriteOptionsSchema } from "./generated/sayso/v1/common_pb.js";
import type { EmbeddingInputSchema } from "./generated/sayso/v1/profile_pb.js";
import type { Embedding, NameOf, OneOrMore } from "./answers.js";

/**
 * Returns the name of a value of an enum: `DENIAL_REASON_NO_CONSENT` is `no_consent`.
 *
 * A value that this version of the package does not know is `unknown_<number>`, and one that is not set is empty.
 */
export function nameOf<E>(schema: DescEnum, number: number): NameOf<E> {
  return (number === 0 ? "" : (namesOf(schema).get(number) ?? `unknown_${number}`)) as NameOf<E>;
}

/**
 * Returns the number of a value of an enum by its name.
 *
 * @throws TypeError The enum has no such value.
 */
export function numberOf<D extends DescEnum>(schema: D, name: string): EnumShape<D> {
  const names = namesOf(schema);
  const wanted = name.toLowerCase().replaceAll("-", "_");
  for (const [number, known] of names) if (known === wanted) return number as EnumShape<D>;
  throw new TypeError(`unknown name ${JSON.stringify(name)}; the names are ${[...names.values()].join(", ")}`);
}

function namesOf(schema: DescEnum): Map<number, string> {
  const set = schema.values.filter((value) => value.number !== 0);
  return new Map(set.map((value) => [value.number, value.localName.toLowerCase()]));
}

/** Returns one or several names as a list. */
export function listOf(names: OneOrMore | undefined): string[] {
  return names === undefined ? [] : typeof names === "string" ? [names] : [...names];
}

/**
 * Returns a time as the API has it.
 *
 * @throws TypeError The date is not a time.
 */
export function timestampOf(at: Date): Timestamp {
  const milliseconds = at.getTime();
  if (!Number.isFinite(milliseconds)) throw new TypeError("the date is not a time");
  const seconds = Math.floor(milliseconds / 1000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (milliseconds - seconds * 1000) * 1_000_000 });
}

/** Returns a time of the API, to the millisecond, or `undefined` if it is not set. */
export function dateOf(stamp: Timestamp | undefined): Date | undefined {
  if (stamp === undefined || (stamp.seconds === 0n && stamp.nanos === 0)) return undefined;
  return new Date(Number(stamp.seconds) * 1000 + Math.floor(stamp.nanos / 1_000_000));
}

/**
 * Returns a length of time as the API has it.
 *
 * @throws RangeError The length is not finite.
 */
export function durationOf(milliseconds: number): Duration {
  if (!Number.isFinite(milliseconds)) throw new RangeError("a length of time must be finite");
  const seconds = Math.trunc(milliseconds / 1000);
  const nanos = Math.round((milliseconds - seconds * 1000) * 1_000_000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}

/** Returns a length of time of the API in milliseconds. */
export function millisecondsOf(length: Duration): number {
  return Number(length.seconds) * 1000 + length.nanos / 1_000_000;
}

/** Returns the options of a write: with the caller's idempotency key, or else with a new one. */
export function writeOptions(idempotencyKey?: string, about?: Timestamp): MessageInitShape<typeof WriteOptionsSchema> {
  const key = idempotencyKey ?? crypto.randomUUID();
  return about === undefined ? { idempotencyKey: key } : { idempotencyKey: key, about };
}

/**
 * Returns a vector as the API has it: in half precision, little-endian.
 *
 * @throws RangeError A number is not finite or too large for half precision (65,504).
 */
export function embeddingOf(vector: Embedding): MessageInitShape<typeof EmbeddingInputSchema> {
  const numbers = Array.from(vector.values);
  const values = new Uint8Array(numbers.length * 2);
  const view = new DataView(values.buffer);
  numbers.forEach((value, at) => {
    view.setUint16(at * 2, halfOf(value), true);
  });
  return { model: vector.model, values };
}

/** Returns the bits of a number in half precision (IEEE 754 binary16), rounded to the nearest, ties to even. */
export function halfOf(value: number): number {
  const size = Math.abs(value);
  if (!(size < 65_520)) throw new RangeError("a number of a vector must be finite and at most 65504");
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (size < 2 ** -14) return sign | roundHalfToEven(size * 2 ** 24);
  const exponent = exponentOf(size);
  const mantissa = roundHalfToEven(size * 2 ** (10 - exponent));
  // A mantissa that was rounded up to 2,048 carries into the exponent.
  return sign | (((exponent + 15) << 10) + (mantissa - 1024));
}

function exponentOf(size: number): number {
  const exponent = Math.floor(Math.log2(size));
  return size < 2 ** exponent ? exponent - 1 : size >= 2 ** (exponent + 1) ? exponent + 1 : exponent;
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
