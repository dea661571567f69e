import { createClient, EventStatus, MatrixEvent, Room } from "matrix-js-sdk";
import { expect, test } from "vitest";
import { itemKey, messageBody, timelineItem } from "./timeline-items";

const ME = "@alice:one.test";
const BOB = "@bob:two.test";
const ROOM_ID = "!room:one.test";

function room(): Room {
  return new Room(ROOM_ID, createClient({ baseUrl: "https://one.test", userId: ME }), ME);
}

function message(content: Record<string, unknown>, sender = BOB): MatrixEvent {
  return new MatrixEvent({
    type: "m.room.message",
    event_id: "$1",
    room_id: ROOM_ID,
    sender,
    origin_server_ts: 1000,
    content,
  });
}

function state(
  type: string,
  key: string,
  sender: string,
  content: Record<string, unknown>,
  before?: Record<string, unknown>,
): MatrixEvent {
  return new MatrixEvent({
    type,
    event_id: "$2",
    room_id: ROOM_ID,
    sender,
    state_key: key,
    origin_server_ts: 1000,
    content,
    unsigned: before === undefined ? {} : { prev_content: before },
  });
}

test("a text message becomes an item with its sender, time and text", () => {
  expect(timelineItem(room(), message({ msgtype: "m.text", body: "Hello" }))).toEqual({
    kind: "message",
    key: "$1",
    sender: { userId: BOB, name: BOB },
    isOwn: false,
    sentAtMs: 1000,
    body: { kind: "text", text: "Hello", style: "plain" },
    isEdited: false,
    sendState: "sent",
  });
});

test.each([
  [
    { msgtype: "m.notice", body: "n" },
    { kind: "text", text: "n", style: "notice" },
  ],
  [
    { msgtype: "m.emote", body: "waves" },
    { kind: "text", text: "waves", style: "emote" },
  ],
  [
    { msgtype: "m.image", body: "cat.png" },
    { kind: "unsupported", description: "cat.png" },
  ],
  [
    { msgtype: "m.text", body: 7 },
    { kind: "text", text: "", style: "plain" },
  ],
  [{}, { kind: "unsupported", description: "" }],
])("the body of %j", (content, body) => {
  expect(messageBody(message(content))).toEqual(body);
});

test.each([
  [EventStatus.SENDING, "sending"],
  [EventStatus.ENCRYPTING, "sending"],
  [EventStatus.QUEUED, "sending"],
  [EventStatus.NOT_SENT, "failed"],
  [EventStatus.SENT, "sent"],
])("an own message that is %s shows as %s", (status, sendState) => {
  const event = message({ msgtype: "m.text", body: "Hello" }, ME);
  event.status = status;
  expect(timelineItem(room(), event)).toMatchObject({ isOwn: true, sendState });
});

test("the local echo and the event the server sends back have one key", () => {
  const echo = message({ msgtype: "m.text", body: "Hello" }, ME);
  echo.setTxnId("t1");
  const sent = new MatrixEvent({ ...echo.event, event_id: "$real", unsigned: { transaction_id: "t1" } });
  expect(itemKey(sent)).toBe(itemKey(echo));
});

const member = (membership: string, rest = {}): Record<string, unknown> => ({ membership, ...rest });

test.each([
  ["joined", BOB, member("join"), member("invite")],
  ["invited", ME, member("invite"), undefined],
  ["left", BOB, member("leave"), member("join")],
  ["removed", ME, member("leave"), member("join")],
  ["declined", BOB, member("leave"), member("invite")],
  ["revoked", ME, member("leave"), member("invite")],
  ["banned", ME, member("ban"), member("join")],
  ["unbanned", ME, member("leave"), member("ban")],
  ["knocked", BOB, member("knock"), undefined],
  ["renamed", BOB, member("join", { displayname: "Bob" }), member("join")],
  ["newAvatar", BOB, member("join", { avatar_url: "mxc://x/y" }), member("join")],
])("membership: %s", (action, sender, content, before) => {
  const event = state("m.room.member", BOB, sender, content, before);
  expect(timelineItem(room(), event)).toMatchObject({
    kind: "change",
    change: { kind: "member", action, target: { userId: BOB }, isTargetOwn: false },
  });
});

test("first settings and unknown state have no line, later changes do", () => {
  const rules = { join_rule: "public" };
  expect(timelineItem(room(), state("m.room.join_rules", "", ME, rules))).toBeUndefined();
  expect(
    timelineItem(room(), state("m.room.join_rules", "", ME, rules, { join_rule: "invite" })),
  ).toMatchObject({
    isOwn: true,
    change: { kind: "joinRule", isPublic: true },
  });
  expect(timelineItem(room(), state("org.example.custom", "", ME, {}, { a: 1 }))).toBeUndefined();
});

test("reactions and edits have no row of their own", () => {
  const edit = message({
    msgtype: "m.text",
    body: "* new",
    "m.relates_to": { rel_type: "m.replace", event_id: "$0" },
  });
  expect(timelineItem(room(), edit)).toBeUndefined();
  const reaction = new MatrixEvent({ ...message({}).event, type: "m.reaction" });
  expect(timelineItem(room(), reaction)).toBeUndefined();
});
