import { EventType, KnownMembership, NotificationCountType, type Room } from "matrix-js-sdk";
import { messageBody, person, timelineItem } from "./timeline-items";
import type { Member, MessagePreview, Person, RoomSummary } from "./types";

function inviterOf(room: Room): Person | undefined {
  const sender = room.getMember(room.myUserId)?.events.member?.getSender();
  return sender === undefined ? undefined : person(room, sender);
}

function lastMessage(room: Room): MessagePreview | undefined {
  const events = [...room.getLiveTimeline().getEvents(), ...room.getPendingEvents()];
  const event = events.findLast((candidate) => timelineItem(room, candidate)?.kind === "message");
  if (event === undefined) return undefined;
  const body = messageBody(event);
  const text = body.kind === "text" ? body.text : body.kind === "unsupported" ? body.description : undefined;
  const sender = event.getSender();
  return {
    senderName: sender === undefined || sender === room.myUserId ? undefined : person(room, sender).name,
    text,
  };
}

/** The room as a row of the list, or `undefined` if this account is neither in it nor invited. */
export function roomSummary(room: Room): RoomSummary | undefined {
  const membership = room.getMyMembership();
  if (membership !== KnownMembership.Join && membership !== KnownMembership.Invite) return undefined;
  const isInvite = membership === KnownMembership.Invite;
  const state = room.currentState;
  const topic: unknown = state.getStateEvents(EventType.RoomTopic, "")?.getContent()["topic"];
  const invitedAtMs = room.getMember(room.myUserId)?.events.member?.getTs() ?? 0;
  return {
    roomId: room.roomId,
    name: room.name,
    topic: typeof topic === "string" && topic !== "" ? topic : undefined,
    membership: isInvite ? "invite" : "join",
    inviter: isInvite ? inviterOf(room) : undefined,
    isEncrypted: room.hasEncryptionStateEvent(),
    unreadCount: isInvite ? 0 : room.getUnreadNotificationCount(NotificationCountType.Total),
    canInvite: !isInvite && room.canInvite(room.myUserId),
    canSend: !isInvite && state.maySendMessage(room.myUserId),
    lastMessage: isInvite ? undefined : lastMessage(room),
    lastActivityMs: Math.max(room.getLastActiveTimestamp(), isInvite ? invitedAtMs : 0, 0),
  };
}

const RANK = { admin: 0, moderator: 1, member: 2 } as const;

/** The people in the room, the powerful first, then those invited. */
export function roomMembers(room: Room): readonly Member[] {
  return room
    .getMembers()
    .filter(({ membership }) => membership === KnownMembership.Join || membership === KnownMembership.Invite)
    .map((member): Member => ({
      userId: member.userId,
      name: member.name,
      membership: member.membership === KnownMembership.Join ? "join" : "invite",
      role: member.powerLevel >= 100 ? "admin" : member.powerLevel >= 50 ? "moderator" : "member",
    }))
    .toSorted(
      (a, b) =>
        Number(a.membership === "invite") - Number(b.membership === "invite") ||
        RANK[a.role] - RANK[b.role] ||
        a.name.localeCompare(b.name),
    );
}
