/** Every sentence a person reads, in English. Other languages are modules of the same shape. */
import type { Problem } from "../core/errors";
import type { RoomChange, UndecryptableReason } from "../core/types";

const plural = new Intl.PluralRules("en");
const time = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });
const weekday = new Intl.DateTimeFormat("en", { weekday: "long" });
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric" });
const shortDate = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "short" });

const DAY_MS = 86_400_000;

function count(n: number, one: string, other: string): string {
  return `${n} ${plural.select(n) === "one" ? one : other}`;
}

function midnight(ms: number): number {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** Whole days between two moments, by the calendar of the reader. */
function daysBetween(thenMs: number, todayMs: number): number {
  return Math.round((midnight(todayMs) - midnight(thenMs)) / DAY_MS);
}

function memberChange(of: Extract<RoomChange, { kind: "member" }>, sender: string): string {
  const target = of.isTargetOwn ? "you" : of.target.name;
  const who = of.isTargetOwn ? "You" : of.target.name;
  switch (of.action) {
    case "joined":
      return `${who} joined`;
    case "left":
      return `${who} left`;
    case "invited":
      return `${sender} invited ${target}`;
    case "declined":
      return `${who} declined the invitation`;
    case "revoked":
      return `${sender} took back the invitation of ${target}`;
    case "removed":
      return `${sender} removed ${target}`;
    case "banned":
      return `${sender} banned ${target}`;
    case "unbanned":
      return `${sender} lifted the ban of ${target}`;
    case "knocked":
      return `${who} asked to join`;
    case "renamed":
      return `${who} changed the display name`;
    case "newAvatar":
      return `${who} changed the picture`;
  }
}

function change(of: RoomChange, sender: string): string {
  switch (of.kind) {
    case "created":
      return `${sender} created the room`;
    case "encryptionOn":
      return "Messages in this room are end-to-end encrypted";
    case "named":
      return of.name === "" ? `${sender} removed the room name` : `${sender} named the room “${of.name}”`;
    case "topic":
      return of.topic === "" ? `${sender} removed the topic` : `${sender} set the topic: ${of.topic}`;
    case "avatar":
      return `${sender} changed the room picture`;
    case "joinRule":
      return of.isPublic ? `${sender} made the room public` : `${sender} made the room private`;
    case "powerLevels":
      return `${sender} changed who may do what`;
    case "historyVisibility":
      return `${sender} changed who can read earlier messages`;
    case "member":
      return memberChange(of, sender);
  }
}

const undecryptable: Record<UndecryptableReason, string> = {
  keyMissing: "This message cannot be read yet: its key has not arrived.",
  withheld: "The sender did not share the key of this message with this device.",
  beforeThisDevice: "Sent before you signed in on this device, so its key is not here.",
  beforeJoining: "Sent before you joined the room.",
  senderChanged: "The sender’s identity changed since you last verified it.",
  unknown: "This message cannot be decrypted.",
};

function problem(of: Problem): string {
  switch (of.kind) {
    case "offline":
      return "The server does not answer. Check your connection and try again.";
    case "notSecure":
      return "Encryption needs a secure connection. Open this page with https.";
    case "wrongPassword":
      return "The name and password do not match.";
    case "accountSuspended":
      return "This account is locked. Ask the administrator of your server.";
    case "nameTaken":
      return "This name is taken. Choose another one.";
    case "nameInvalid":
      return "Use small letters, digits and . _ = - / + only.";
    case "weakPassword":
      return "This password is too weak. Make it longer.";
    case "registrationClosed":
      return "This server does not accept new accounts. Ask its administrator for one.";
    case "tokenRejected":
      return "The server did not accept this registration token.";
    case "unsupportedStages":
      return "This server asks for a step this page does not know.";
    case "forbidden":
      return "You are not allowed to do this.";
    case "notFound":
      return "The server does not know this.";
    case "tooMany":
      return of.retryAfterMs === undefined
        ? "Too many attempts. Wait a moment and try again."
        : `Too many attempts. Try again in ${count(Math.ceil(of.retryAfterMs / 1000), "second", "seconds")}.`;
    case "explained":
      return of.text;
    case "unexpected":
      return `Something went wrong: ${of.detail}`;
  }
}

export const en = {
  app: {
    name: "Hearth",
    skipToContent: "Skip to content",
    starting: "Getting your rooms ready",
    startFailed: "Hearth could not start",
    tryAgain: "Try again",
    elsewhereTitle: "Hearth is open in another tab",
    elsewhereBody: "Your keys can be used by one tab at a time.",
    moveHere: "Use it here",
    crashTitle: "Something broke",
    crashBody: "Your messages are safe. Reload the page to go on.",
    reload: "Reload",
    notFoundTitle: "Nothing here",
    notFoundBody: "This address leads nowhere.",
    home: "Go to your rooms",
    close: "Close",
    cancel: "Cancel",
    back: "Back to the rooms",
    dismiss: "Dismiss",
  },
  problem,
  auth: {
    signInTitle: "Welcome back",
    signInTo: (server: string) => `Sign in to ${server}`,
    signUpTitle: "Create your account",
    signUpOn: (server: string) => `A new home on ${server}`,
    username: "Username",
    yourId: (name: string, server: string) => `You will be @${name}:${server}`,
    password: "Password",
    passwordHint: "At least 8 characters. A few unrelated words work best.",
    showPassword: "Show password",
    hidePassword: "Hide password",
    token: "Registration token",
    tokenHint: "Your administrator gave it to you.",
    signIn: "Sign in",
    signUp: "Create account",
    noAccount: "New here?",
    haveAccount: "Already have an account?",
    usernameMissing: "Enter your username.",
    passwordMissing: "Enter your password.",
    passwordShort: "Use at least 8 characters.",
    tokenMissing: "Enter the token.",
    ended: "You were signed out. Sign in again to go on.",
    promise: "Your conversations, on your own server.",
  },
  connection: {
    offline: "Connection lost. Trying again…",
    retryNow: "Try now",
    live: "Connected again",
  },
  identity: {
    title: "Finish setting up encryption",
    body: "The server asks for your password once more before it takes your keys.",
    confirm: "Confirm",
    open: "Enter password",
    failed: "Your encryption identity could not be set up. It will be tried again at the next start.",
  },
  rooms: {
    title: "Rooms",
    invites: "Invitations",
    empty: "No rooms yet. Create one and invite somebody.",
    create: "New room",
    createTitle: "Create a room",
    name: "Name",
    namePlaceholder: "Garden committee",
    nameMissing: "Give the room a name.",
    access: "Who can join",
    private: "Only people who are invited",
    public: "Anyone who finds it",
    encrypted: "End-to-end encryption",
    encryptedHint: "Only the people in the room can read it. It cannot be turned off later.",
    createAction: "Create room",
    unread: (n: number) => count(n, "unread message", "unread messages"),
    invitedBy: (name: string) => `Invited by ${name}`,
    you: (text: string) => `You: ${text}`,
    from: (name: string, text: string) => `${name}: ${text}`,
    noPreview: "Encrypted message",
    noMessages: "No messages yet",
    accept: "Accept",
    decline: "Decline",
    inviteTitle: (room: string) => `Join ${room}?`,
    inviteBody: (name: string, id: string) => `${name} (${id}) invited you.`,
    isEncrypted: "End-to-end encrypted",
    isNotEncrypted: "Not encrypted",
    showMembers: "Show people",
    hideMembers: "Hide people",
    actions: "Room menu",
    invite: "Invite people",
    inviteDialog: (room: string) => `Invite to ${room}`,
    userId: "User id",
    userIdHint: "On this or any other Matrix server",
    userIdPlaceholder: "@bob:two.example",
    userIdInvalid: "A user id looks like @name:server.",
    inviteAction: "Send invitation",
    invited: (id: string) => `Invited ${id}`,
    inviteForbidden: "You may not invite people into this room, or they are already in it.",
    inviteNotFound: "There is no such account, or its server does not answer.",
    leave: "Leave room",
    leaveTitle: (room: string) => `Leave ${room}?`,
    leaveBody: "You stop receiving its messages. To come back, somebody has to invite you again.",
    gone: "You are not in this room",
    goneBody: "It may not exist, or you left it.",
    joining: "Joining…",
  },
  members: {
    title: "People",
    invited: "Invited",
    role: { admin: "Admin", moderator: "Moderator", member: "" },
    close: "Close people",
  },
  timeline: {
    label: (room: string) => `Messages in ${room}`,
    start: (room: string) => `This is the beginning of ${room}.`,
    loading: "Loading earlier messages",
    loadFailed: "Earlier messages could not be loaded.",
    day: (ms: number, todayMs: number) => {
      const days = daysBetween(ms, todayMs);
      if (days === 0) return "Today";
      if (days === 1) return "Yesterday";
      return days < 7 ? weekday.format(ms) : date.format(ms);
    },
    time: (ms: number) => time.format(ms),
    moment: (ms: number) => full.format(ms),
    recent: (ms: number, todayMs: number) =>
      daysBetween(ms, todayMs) === 0 ? time.format(ms) : shortDate.format(ms),
    message: (sender: string, text: string, at: string) => `${sender}, ${at}: ${text}`,
    spoken: (sender: string, text: string) => `${sender}: ${text}`,
    sending: "Sending…",
    failed: "Not sent",
    retry: "Try again",
    discard: "Delete",
    edited: "edited",
    deleted: "Message deleted",
    decrypting: "Decrypting…",
    unsupported: (description: string) =>
      description === ""
        ? "Something this page cannot show yet"
        : `${description} (cannot be shown here yet)`,
    toLatest: "Jump to the latest message",
    undecryptable: (reason: UndecryptableReason) => undecryptable[reason],
    change,
    you: "You",
  },
  composer: {
    label: (room: string) => `Message to ${room}`,
    placeholder: (room: string, isEncrypted: boolean) =>
      isEncrypted ? `Encrypted message to ${room}` : `Message to ${room}`,
    send: "Send",
    hint: "Enter sends, Shift and Enter starts a new line",
    notAllowed: "You may not write in this room.",
  },
  home: {
    title: (name: string) => `Hello, ${name}`,
    body: "Choose a room, or start a new one.",
    shareId: "Others can invite you by your id:",
    copy: "Copy",
    copied: "Copied",
  },
  profile: {
    menu: "Your account",
    theme: "Appearance",
    themes: { system: "System", light: "Light", dark: "Dark" },
    copyId: "Copy my id",
    signOut: "Sign out",
    signOutTitle: "Sign out?",
    signOutBody:
      "The keys on this device are deleted. Encrypted messages you received here cannot be read after you sign in again.",
  },
};

export type Messages = typeof en;
