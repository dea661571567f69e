import type { Snapshot } from "./types";

/** A snapshot its owner can set; setting an identical value tells nobody. */
export class Source<T> implements Snapshot<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  get = (): T => this.#value;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of this.#listeners) listener();
  }
}

/** Whether two plain values (objects, arrays, primitives) say the same. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const left = Object.entries(a);
  if (left.length !== Object.keys(b).length) return false;
  return left.every(([key, value]) => key in b && isSame(value, (b as Record<string, unknown>)[key]));
}

/** `next`, with every element that did not change replaced by its old object, so that views can skip it. */
export function keepUnchanged<T>(
  previous: readonly T[],
  next: readonly T[],
  key: (item: T) => string,
): readonly T[] {
  const old = new Map(previous.map((item) => [key(item), item]));
  const merged = next.map((item) => {
    const before = old.get(key(item));
    return before !== undefined && isSame(before, item) ? before : item;
  });
  const isUnchanged =
    merged.length === previous.length && merged.every((item, index) => item === previous[index]);
  return isUnchanged ? previous : merged;
}
