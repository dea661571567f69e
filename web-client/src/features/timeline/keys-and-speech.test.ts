import { expect, test } from "vitest";
import type { MessageItem } from "../../core/types";
import { spokenSince } from "./Announcer";
import { rowsOf } from "./rows";
import { rowAfterKey } from "./use-arrow-keys";

function message(key: string, isOwn = false): MessageItem {
  return {
    kind: "message",
    key,
    sender: { userId: "@bob:two.test", name: "Bob" },
    isOwn,
    sentAtMs: 0,
    body: { kind: "text", text: `text of ${key}`, style: "plain" },
    isEdited: false,
    sendState: "sent",
  };
}

// start, day, a, b, c
const rows = rowsOf([message("a"), message("b"), message("c")], true);

test.each([
  ["ArrowUp", -1, 4],
  ["ArrowUp", 4, 3],
  ["ArrowUp", 2, -1],
  ["ArrowDown", -1, 4],
  ["ArrowDown", 2, 3],
  ["ArrowDown", 4, -1],
  ["Home", 4, 2],
  ["End", 2, 4],
  ["Enter", 2, undefined],
])("%s from row %i leads to row %s", (key, current, expected) => {
  expect(rowAfterKey(key, current, rows)).toBe(expected);
});

test("new messages of others are spoken with author and text", () => {
  const items = [message("a"), message("b"), message("mine", true), message("c")];
  expect(spokenSince(items, "a")).toEqual(["Bob: text of b", "Bob: text of c"]);
  expect(spokenSince(items, "c")).toEqual([]);
});

test("nothing is spoken when the place was lost, as after a gap", () => {
  expect(spokenSince([message("x")], "gone")).toEqual([]);
});
