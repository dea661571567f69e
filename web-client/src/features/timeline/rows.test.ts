import { expect, test } from "vitest";
import type { ChangeItem, MessageItem } from "../../core/types";
import { rowsOf } from "./rows";

const NOON = new Date(2026, 0, 15, 12).getTime();
const MINUTE = 60_000;
const alice = { userId: "@alice:one.test", name: "Alice" };
const bob = { userId: "@bob:two.test", name: "Bob" };

function message(key: string, sender: typeof alice, sentAtMs: number): MessageItem {
  return {
    kind: "message",
    key,
    sender,
    isOwn: false,
    sentAtMs,
    body: { kind: "text", text: key, style: "plain" },
    isEdited: false,
    sendState: "sent",
  };
}

function change(key: string, sentAtMs: number): ChangeItem {
  return { kind: "change", key, sender: alice, isOwn: false, sentAtMs, change: { kind: "avatar" } };
}

const heads = (rows: ReturnType<typeof rowsOf>): readonly string[] =>
  rows.filter((row) => row.kind === "message" && row.isHead).map(({ key }) => key);

test("messages of one sender within five minutes share a heading", () => {
  const rows = rowsOf(
    [
      message("a1", alice, NOON),
      message("a2", alice, NOON + MINUTE),
      message("b1", bob, NOON + 2 * MINUTE),
      message("a3", alice, NOON + 3 * MINUTE),
      message("a4", alice, NOON + 9 * MINUTE),
    ],
    false,
  );
  expect(heads(rows)).toEqual(["a1", "b1", "a3", "a4"]);
});

test("a change between two messages ends the group", () => {
  const rows = rowsOf(
    [message("a1", alice, NOON), change("c", NOON + 1), message("a2", alice, NOON + 2)],
    false,
  );
  expect(heads(rows)).toEqual(["a1", "a2"]);
});

test("a day mark stands before the first message of each day, and ends the group", () => {
  const midnight = new Date(2026, 0, 16).getTime();
  const rows = rowsOf([message("a1", alice, midnight - 1), message("a2", alice, midnight)], false);
  expect(rows.map(({ kind }) => kind)).toEqual(["day", "message", "day", "message"]);
  expect(heads(rows)).toEqual(["a1", "a2"]);
});

test("the beginning is shown once there is nothing before it", () => {
  expect(rowsOf([], true)).toEqual([{ kind: "start", key: "start" }]);
  expect(rowsOf([], false)).toEqual([]);
});
