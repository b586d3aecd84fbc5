/** JSON text that is always the same for the same value, in every client of the ledger. */

import { compareText } from "./text.js";

/** Anything that is JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * Returns a value as JSON text, with the members of objects in order.
 *
 * @throws TypeError The value is not JSON, for example because it contains a NaN, a Date or `undefined`.
 */
export function jsonText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (isPlainObject(value)) return objectText(Object.entries(value).map(([key, member]) => [key, jsonText(member)]));
  if (isScalar(value)) return JSON.stringify(value);
  throw new TypeError(
    `the value is not JSON: it contains ${typeof value === "number" ? "a number that is not finite" : "a " + kindOf(value)}`,
  );
}

function kindOf(value: unknown): string {
  return typeof value === "object" ? (value?.constructor.name ?? "null") : typeof value;
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function objectText(members: readonly (readonly [string, string])[]): string {
  const ordered = [...members].sort(([a], [b]) => compareText(a, b));
  return `{${ordered.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(",")}}`;
}

/** Returns the value of JSON text. Text that is not JSON is returned as it is. */
export function jsonValue(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

/**
 * Returns JSON text in its fixed form: members in order, no white space, numbers as the Python client writes them.
 *
 * JavaScript does not distinguish `1.0` from `1`, and Python does. So numbers are taken from the text and not from the
 * value. Text that is not JSON is treated as a string.
 */
export function normalizedJson(text: string): string {
  try {
    JSON.parse(text);
  } catch {
    return JSON.stringify(text);
  }
  return new Normalizer(text).value();
}

const TOKENS = /[[\]{}:,]|"(?:[^"\\]|\\.)*"|true|false|null|-?[0-9][0-9.eE+-]*/gs;

/** Reads text that is known to be JSON. */
class Normalizer {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(TOKENS) ?? [];
  }

  value(): string {
    const token = this.#next();
    if (token === "{") return this.#object();
    if (token === "[") return this.#array();
    if (token.startsWith('"')) return JSON.stringify(JSON.parse(token));
    return /^-?[0-9]/.test(token) ? numberText(token) : token;
  }

  #next(): string {
    return this.#tokens[this.#at++] ?? "";
  }

  #array(): string {
    const items: string[] = [];
    while (this.#tokens[this.#at] !== "]") {
      items.push(this.value());
      this.#skip(",");
    }
    this.#at++;
    return `[${items.join(",")}]`;
  }

  #object(): string {
    const members = new Map<string, string>();
    while (this.#tokens[this.#at] !== "}") {
      const key = JSON.parse(this.#next()) as string;
      this.#skip(":");
      members.set(key, this.value());
      this.#skip(",");
    }
    this.#at++;
    return objectText([...members]);
  }

  #skip(token: string): void {
    if (this.#tokens[this.#at] === token) this.#at++;
  }
}

/** Writes a number as Python does: a whole number as it is, any other one with a point or an exponent. */
function numberText(token: string): string {
  if (!/[.eE]/.test(token)) return token === "-0" ? "0" : token;
  const value = Number(token);
  const sign = Object.is(value, -0) || value < 0 ? "-" : "";
  return sign + floatText(Math.abs(value));
}

function floatText(value: number): string {
  if (value === 0) return "0.0";
  const [mantissa = "", exponentText = "0"] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const digits = String(Math.abs(exponent)).padStart(2, "0");
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${digits}`;
  }
  if (exponent < 0) return value.toFixed(mantissa.replace(".", "").length - 1 - exponent);
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}
