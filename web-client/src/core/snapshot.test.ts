import { expect, test, vi } from "vitest";
import { isSame, keepUnchanged, Source } from "./snapshot";

test("a source tells its listeners of a change, and of nothing else", () => {
  const source = new Source(1);
  const listener = vi.fn();
  const stop = source.subscribe(listener);
  source.set(1);
  expect(listener).not.toHaveBeenCalled();
  source.set(2);
  expect(listener).toHaveBeenCalledOnce();
  expect(source.get()).toBe(2);
  stop();
  source.set(3);
  expect(listener).toHaveBeenCalledOnce();
});

test.each([
  [{ a: 1, b: { c: [1, 2] } }, { b: { c: [1, 2] }, a: 1 }, true],
  [{ a: 1 }, { a: 2 }, false],
  [{ a: undefined }, {}, false],
  [{ a: undefined }, { b: undefined }, false],
  [[1, 2], [1, 2, 3], false],
  [null, {}, false],
])("isSame(%j, %j) is %s", (a, b, expected) => {
  expect(isSame(a, b)).toBe(expected);
});

test("items that say the same keep their identity, and so does a list of nothing new", () => {
  const key = ({ id }: { id: string }): string => id;
  const before = [
    { id: "a", text: "one" },
    { id: "b", text: "two" },
  ];
  const same = keepUnchanged(before, structuredClone(before), key);
  expect(same).toBe(before);
  const changed = keepUnchanged(before, [{ id: "c", text: "new" }, ...structuredClone(before)], key);
  expect(changed).not.toBe(before);
  expect(changed[1]).toBe(before[0]);
  const shorter = keepUnchanged(before, [{ id: "a", text: "one" }], key);
  expect(shorter).toEqual([before[0]]);
});
