/** From SDK events to timeline items. */
import { DecryptionFailureCode } from "matrix-js-sdk/lib/crypto-api";
import {
  EventStatus,
  EventType,
  JoinRule,
  MsgType,
  RelationType,
  type MatrixEvent,
  type Room,
} from "matrix-js-sdk";
import type { MessageBody, Person, RoomChange, SendState, TimelineItem, UndecryptableReason } from "./types";

const REASONS: Partial<Record<DecryptionFailureCode, UndecryptableReason>> = {
  [DecryptionFailureCode.MEGOLM_UNKNOWN_INBOUND_SESSION_ID]: "keyMissing",
  [DecryptionFailureCode.OLM_UNKNOWN_MESSAGE_INDEX]: "keyMissing",
  [DecryptionFailureCode.MEGOLM_KEY_WITHHELD]: "withheld",
  [DecryptionFailureCode.MEGOLM_KEY_WITHHELD_FOR_UNVERIFIED_DEVICE]: "withheld",
  [DecryptionFailureCode.HISTORICAL_MESSAGE_NO_KEY_BACKUP]: "beforeThisDevice",
  [DecryptionFailureCode.HISTORICAL_MESSAGE_BACKUP_UNCONFIGURED]: "beforeThisDevice",
  [DecryptionFailureCode.HISTORICAL_MESSAGE_WORKING_BACKUP]: "beforeThisDevice",
  [DecryptionFailureCode.HISTORICAL_MESSAGE_USER_NOT_JOINED]: "beforeJoining",
  [DecryptionFailureCode.SENDER_IDENTITY_PREVIOUSLY_VERIFIED]: "senderChanged",
};

export function person(room: Room, userId: string): Person {
  return { userId, name: room.getMember(userId)?.name ?? userId };
}

function string(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Identical for the local echo and the event that comes back from the server. */
export function itemKey(event: MatrixEvent): string {
  return event.getTxnId() ?? event.getUnsigned().transaction_id ?? event.getId() ?? "";
}

function sendState(event: MatrixEvent): SendState {
  switch (event.status) {
    case null:
    case EventStatus.SENT:
      return "sent";
    case EventStatus.NOT_SENT:
    case EventStatus.CANCELLED:
      return "failed";
    default:
      return "sending";
  }
}

export function messageBody(event: MatrixEvent): MessageBody {
  if (event.isRedacted()) return { kind: "deleted" };
  if (event.isDecryptionFailure()) {
    const code = event.decryptionFailureReason;
    return { kind: "undecryptable", reason: (code !== null && REASONS[code]) || "unknown" };
  }
  if (event.getType() === EventType.RoomMessageEncrypted) return { kind: "decrypting" };
  const content = event.getContent();
  const text = string(content["body"]) ?? "";
  switch (content["msgtype"]) {
    case MsgType.Text:
      return { kind: "text", text, style: "plain" };
    case MsgType.Notice:
      return { kind: "text", text, style: "notice" };
    case MsgType.Emote:
      return { kind: "text", text, style: "emote" };
    default:
      return { kind: "unsupported", description: text };
  }
}

type MemberAction = Extract<RoomChange, { kind: "member" }>["action"];

function memberAction(event: MatrixEvent): MemberAction | undefined {
  const [now, before] = [event.getContent(), event.getPrevContent()];
  const isOwn = event.getSender() === event.getStateKey();
  switch (now["membership"]) {
    case "join":
      if (before["membership"] !== "join") return "joined";
      if (before["displayname"] !== now["displayname"]) return "renamed";
      return before["avatar_url"] === now["avatar_url"] ? undefined : "newAvatar";
    case "invite":
      return "invited";
    case "knock":
      return "knocked";
    case "ban":
      return "banned";
    case "leave":
      if (before["membership"] === "ban") return "unbanned";
      if (before["membership"] === "invite") return isOwn ? "declined" : "revoked";
      return isOwn ? "left" : "removed";
    default:
      return undefined;
  }
}

/** What a state event changed, or `undefined` where that is not worth a line (first settings, unknown types). */
function roomChange(room: Room, event: MatrixEvent): RoomChange | undefined {
  const content = event.getContent();
  const isFirst = Object.keys(event.getPrevContent()).length === 0;
  switch (event.getType()) {
    case EventType.RoomCreate:
      return { kind: "created" };
    case EventType.RoomEncryption:
      return isFirst ? { kind: "encryptionOn" } : undefined;
    case EventType.RoomName:
      return isFirst ? undefined : { kind: "named", name: string(content["name"]) ?? "" };
    case EventType.RoomTopic:
      return { kind: "topic", topic: string(content["topic"]) ?? "" };
    case EventType.RoomAvatar:
      return { kind: "avatar" };
    case EventType.RoomJoinRules:
      return isFirst ? undefined : { kind: "joinRule", isPublic: content["join_rule"] === JoinRule.Public };
    case EventType.RoomPowerLevels:
      return isFirst ? undefined : { kind: "powerLevels" };
    case EventType.RoomHistoryVisibility:
      return isFirst ? undefined : { kind: "historyVisibility" };
    case EventType.RoomMember: {
      const userId = event.getStateKey() ?? "";
      const action = memberAction(event);
      // That the creator is in the room goes without saying.
      const isCreator = isFirst && action === "joined" && room.getCreator() === userId;
      if (action === undefined || isCreator) return undefined;
      const name = string(content["displayname"]) ?? string(event.getPrevContent()["displayname"]) ?? userId;
      return { kind: "member", action, target: { userId, name }, isTargetOwn: userId === room.myUserId };
    }
    default:
      return undefined;
  }
}

function isMessage(event: MatrixEvent): boolean {
  const type = event.getType();
  if (event.isState() || event.isRelation(RelationType.Replace)) return false;
  return (
    type === EventType.RoomMessage ||
    type === EventType.Sticker ||
    type === EventType.RoomMessageEncrypted ||
    event.isDecryptionFailure()
  );
}

/** The item an event is shown as, or `undefined` if it has no row of its own. */
export function timelineItem(room: Room, event: MatrixEvent): TimelineItem | undefined {
  const sender = person(room, event.getSender() ?? "");
  const isOwn = sender.userId === room.myUserId;
  const common = { key: itemKey(event), sender, isOwn, sentAtMs: event.getTs() };
  if (event.isState()) {
    const change = roomChange(room, event);
    return change && { kind: "change", ...common, change };
  }
  if (!isMessage(event)) return undefined;
  return {
    kind: "message",
    ...common,
    body: messageBody(event),
    isEdited: event.replacingEvent() !== null,
    sendState: sendState(event),
  };
}
