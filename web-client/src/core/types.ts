/**
 * The vocabulary between the facade and the rest of the client: plain, immutable values and commands.
 * Nothing here, and nothing outside `core/`, knows the SDK.
 */

/** A value that changes over time: read it, or be told that it changed. Equal values keep their identity. */
export interface Snapshot<T> {
  get(): T;
  /** Calls `listener` after each change; returns how to stop. */
  subscribe(listener: () => void): () => void;
}

/** What a signed-in device needs to come back after a reload. */
export interface Credentials {
  readonly userId: string;
  readonly deviceId: string;
  readonly accessToken: string;
}

/** `connecting` until the first answer, `offline` while the server does not answer. */
export type ConnectionState = "connecting" | "live" | "offline";

/**
 * Whether this account has its cross-signing identity: `needsPassword` while the server wants the password
 * before it takes the keys, `elsewhere` if the identity was made on another device.
 */
export type IdentityState = "checking" | "ready" | "needsPassword" | "elsewhere" | "failed";

export interface Person {
  readonly userId: string;
  readonly name: string;
}

export interface Member extends Person {
  readonly membership: "join" | "invite";
  readonly role: "admin" | "moderator" | "member";
}

export interface MessagePreview {
  /** `undefined` for own messages. */
  readonly senderName: string | undefined;
  /** `undefined` where the message has no words (deleted, or not readable here). */
  readonly text: string | undefined;
}

export interface RoomSummary {
  readonly roomId: string;
  readonly name: string;
  readonly topic: string | undefined;
  readonly membership: "join" | "invite";
  readonly inviter: Person | undefined;
  readonly isEncrypted: boolean;
  readonly unreadCount: number;
  readonly canInvite: boolean;
  readonly canSend: boolean;
  readonly lastMessage: MessagePreview | undefined;
  /** Milliseconds since the epoch. */
  readonly lastActivityMs: number;
}

export type UndecryptableReason =
  "keyMissing" | "withheld" | "beforeThisDevice" | "beforeJoining" | "senderChanged" | "unknown";

export type MessageBody =
  | { readonly kind: "text"; readonly text: string; readonly style: "plain" | "notice" | "emote" }
  | { readonly kind: "unsupported"; readonly description: string }
  | { readonly kind: "undecryptable"; readonly reason: UndecryptableReason }
  | { readonly kind: "decrypting" }
  | { readonly kind: "deleted" };

export type SendState = "sending" | "sent" | "failed";

export interface MessageItem {
  readonly kind: "message";
  /** Stays the same from the local echo to the event the server sends back. */
  readonly key: string;
  readonly sender: Person;
  readonly isOwn: boolean;
  readonly sentAtMs: number;
  readonly body: MessageBody;
  readonly isEdited: boolean;
  readonly sendState: SendState;
}

export type RoomChange =
  | { readonly kind: "created" }
  | { readonly kind: "encryptionOn" }
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "topic"; readonly topic: string }
  | { readonly kind: "avatar" }
  | { readonly kind: "joinRule"; readonly isPublic: boolean }
  | { readonly kind: "powerLevels" }
  | { readonly kind: "historyVisibility" }
  | {
      readonly kind: "member";
      readonly action:
        | "joined"
        | "left"
        | "invited"
        | "declined"
        | "revoked"
        | "removed"
        | "banned"
        | "unbanned"
        | "knocked"
        | "renamed"
        | "newAvatar";
      readonly target: Person;
      /** Whether it happened to oneself. */
      readonly isTargetOwn: boolean;
    };

export interface ChangeItem {
  readonly kind: "change";
  readonly key: string;
  readonly sender: Person;
  readonly isOwn: boolean;
  readonly sentAtMs: number;
  readonly change: RoomChange;
}

export type TimelineItem = MessageItem | ChangeItem;

export interface TimelineState {
  readonly items: readonly TimelineItem[];
  readonly hasMore: boolean;
  readonly loading: "idle" | "loading" | "failed";
}

/** One room that is being looked at. */
export interface RoomView {
  readonly timeline: Snapshot<TimelineState>;
  readonly members: Snapshot<readonly Member[]>;
  /** Fetches an older page of the history; does nothing while one is on its way. */
  loadMore(): Promise<void>;
  /** Fetches the members the server left out so far. */
  loadMembers(): Promise<void>;
  send(text: string): void;
  retry(itemKey: string): void;
  discard(itemKey: string): void;
  markRead(): void;
}

export interface NewRoom {
  readonly name: string;
  readonly isPublic: boolean;
  readonly isEncrypted: boolean;
}

export interface Core {
  readonly me: Person;
  readonly connection: Snapshot<ConnectionState>;
  readonly identity: Snapshot<IdentityState>;
  readonly rooms: Snapshot<readonly RoomSummary[]>;
  /** The view of a room one has joined; the same object each time. */
  openRoom(roomId: string): RoomView | undefined;
  createRoom(room: NewRoom): Promise<string>;
  acceptInvite(roomId: string): Promise<void>;
  declineInvite(roomId: string): Promise<void>;
  invite(roomId: string, userId: string): Promise<void>;
  leave(roomId: string): Promise<void>;
  reconnect(): void;
  /** Finishes the identity with the password the server asked for. */
  confirmPassword(password: string): Promise<void>;
  /** Stops talking to the server; the session stays. */
  stop(): void;
  /** Ends the session on the server as far as it answers, and forgets everything on this device. */
  signOut(): Promise<void>;
}

export interface CoreEvents {
  /** The server no longer accepts this session. */
  readonly onSessionEnded: () => void;
}
