/** The facade itself. It is the entry of the lazy chunk that carries the SDK: import it only through `start.ts`. */
import {
  ClientEvent,
  ConnectionError,
  createClient,
  EventType,
  HttpApiEvent,
  IndexedDBStore,
  MatrixError,
  MatrixEventEvent,
  Method,
  PendingEventOrdering,
  Preset,
  RoomEvent,
  RoomMemberEvent,
  RoomStateEvent,
  SyncState,
  Visibility,
  type MatrixClient,
} from "matrix-js-sdk";
import { CoreError, problemOf } from "./errors";
import { Identity } from "./identity";
import { LiveRoom } from "./live-room";
import { quietSdk, sdkLogger } from "./sdk-logger";
import { roomSummary } from "./room-summary";
import { keepUnchanged, Source } from "./snapshot";
import type {
  ConnectionState,
  Core,
  CoreEvents,
  Credentials,
  NewRoom,
  Person,
  RoomSummary,
  RoomView,
} from "./types";

const INITIAL_EVENTS = 30;
const MEGOLM = "m.megolm.v1.aes-sha2";
const SYNC_STORE = "hearth-sync";
const CRYPTO_STORE = "hearth-crypto";
/** How long a command waits for its effect to come back with the sync; it has succeeded all the same. */
const EFFECT_MS = 10_000;
/** Changes that arrive together are shown together. */
const REFRESH_MS = 16;

const CONNECTION: Record<SyncState, ConnectionState> = {
  [SyncState.Prepared]: "live",
  [SyncState.Syncing]: "live",
  [SyncState.Catchup]: "live",
  [SyncState.Reconnecting]: "offline",
  [SyncState.Error]: "offline",
  [SyncState.Stopped]: "offline",
};

/** Runs an SDK command and gives its failure a meaning. */
async function understood<T>(command: Promise<T>): Promise<T> {
  try {
    return await command;
  } catch (cause) {
    if (cause instanceof ConnectionError) throw new CoreError({ kind: "offline" }, { cause });
    if (!(cause instanceof MatrixError)) throw cause;
    const problem = problemOf({
      status: cause.httpStatus ?? 0,
      errcode: cause.errcode,
      message: cause.error,
      retryAfterMs: cause.isRateLimitError() ? (cause.getRetryAfterMs() ?? undefined) : undefined,
    });
    throw new CoreError(problem, { cause });
  }
}

class MatrixCore implements Core {
  readonly me: Person;
  readonly connection = new Source<ConnectionState>("connecting");
  readonly rooms = new Source<readonly RoomSummary[]>([]);
  readonly #client: MatrixClient;
  readonly #identity: Identity;
  readonly #open = new Map<string, LiveRoom>();
  readonly #dirty = new Set<string>();
  #hasCheckedIdentity = false;
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: MatrixClient, password: string | undefined, events: CoreEvents) {
    const userId = client.getSafeUserId();
    this.me = { userId, name: userId.slice(1).split(":")[0] ?? userId };
    this.#client = client;
    this.#identity = new Identity(client, password);
    this.#listen(events);
  }

  get identity(): Identity["state"] {
    return this.#identity.state;
  }

  #listen({ onSessionEnded }: CoreEvents): void {
    const client = this.#client;
    const touch = (roomId: string | undefined): void => {
      if (roomId !== undefined) this.#touch(roomId);
    };
    client.on(ClientEvent.Sync, (state, _previous, data) => this.#onSync(state, data?.fromCache === true));
    client.on(ClientEvent.Room, (room) => {
      room.on(RoomEvent.UnreadNotifications, () => touch(room.roomId));
      touch(room.roomId);
    });
    client.on(ClientEvent.DeleteRoom, touch);
    client.on(RoomEvent.Timeline, (_event, room) => touch(room?.roomId));
    client.on(RoomEvent.TimelineReset, (room) => touch(room?.roomId));
    client.on(RoomEvent.LocalEchoUpdated, (_event, room) => touch(room.roomId));
    client.on(RoomEvent.Name, (room) => touch(room.roomId));
    client.on(RoomEvent.MyMembership, (room) => touch(room.roomId));
    client.on(RoomEvent.Redaction, (_event, room) => touch(room.roomId));
    client.on(RoomEvent.Receipt, (_event, room) => touch(room.roomId));
    client.on(RoomStateEvent.Events, (event) => touch(event.getRoomId()));
    client.on(RoomMemberEvent.Name, (_event, member) => touch(member.roomId));
    client.on(MatrixEventEvent.Decrypted, (event) => touch(event.getRoomId()));
    client.on(MatrixEventEvent.Replaced, (event) => touch(event.getRoomId()));
    client.on(HttpApiEvent.SessionLoggedOut, () => onSessionEnded());
  }

  #onSync(state: SyncState, isFromCache: boolean): void {
    const connection = CONNECTION[state];
    const isStarting = this.connection.get() === "connecting" && state === SyncState.Reconnecting;
    // What is known from last time is shown, but it says nothing about the connection.
    if (!isFromCache && !isStarting) this.connection.set(connection);
    if (isFromCache || state === SyncState.Prepared) this.#touchAll();
    if (!isFromCache && connection === "live" && !this.#hasCheckedIdentity) {
      this.#hasCheckedIdentity = true;
      void this.#identity.ensure();
    }
  }

  #touchAll(): void {
    for (const room of this.#client.getRooms()) this.#touch(room.roomId);
  }

  #touch(roomId: string): void {
    this.#dirty.add(roomId);
    this.#refreshTimer ??= setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  #refresh(): void {
    this.#refreshTimer = undefined;
    const known = new Map(this.rooms.get().map((summary) => [summary.roomId, summary]));
    for (const roomId of this.#dirty) {
      const room = this.#client.getRoom(roomId);
      const summary = room === null ? undefined : roomSummary(room);
      if (summary === undefined) known.delete(roomId);
      else known.set(roomId, summary);
      if (summary?.membership !== "join") this.#open.delete(roomId);
      this.#open.get(roomId)?.refresh();
    }
    this.#dirty.clear();
    const ordered = [...known.values()].toSorted((a, b) => b.lastActivityMs - a.lastActivityMs);
    this.rooms.set(keepUnchanged(this.rooms.get(), ordered, ({ roomId }) => roomId));
  }

  openRoom(roomId: string): RoomView | undefined {
    const known = this.#open.get(roomId);
    if (known !== undefined) return known;
    const room = this.#client.getRoom(roomId);
    if (room === null || roomSummary(room)?.membership !== "join") return undefined;
    const opened = new LiveRoom(this.#client, room);
    this.#open.set(roomId, opened);
    return opened;
  }

  async createRoom({ name, isPublic, isEncrypted }: NewRoom): Promise<string> {
    const created = await understood(
      this.#client.createRoom({
        name,
        preset: isPublic ? Preset.PublicChat : Preset.PrivateChat,
        visibility: isPublic ? Visibility.Public : Visibility.Private,
        initial_state: isEncrypted
          ? [{ type: EventType.RoomEncryption, state_key: "", content: { algorithm: MEGOLM } }]
          : [],
      }),
    );
    await this.#whenListed(created.room_id, "join");
    return created.room_id;
  }

  async acceptInvite(roomId: string): Promise<void> {
    try {
      await understood(this.#client.joinRoom(roomId));
    } catch (error) {
      // After the join itself the SDK fetches older keys the inviter may have left; that may fail alone.
      if (!(error instanceof CoreError) || !this.#isMediaFailure(error.cause)) throw error;
    }
    await this.#whenListed(roomId, "join");
  }

  async declineInvite(roomId: string): Promise<void> {
    await this.leave(roomId);
  }

  async invite(roomId: string, userId: string): Promise<void> {
    try {
      await understood(this.#client.invite(roomId, userId));
    } catch (error) {
      // The SDK first uploads the keys of earlier messages. Without them the invitation is still good.
      if (!(error instanceof CoreError) || !this.#isMediaFailure(error.cause)) throw error;
      const path = `/rooms/${encodeURIComponent(roomId)}/invite`;
      await understood(this.#client.http.authedRequest(Method.Post, path, undefined, { user_id: userId }));
    }
  }

  #isMediaFailure(cause: unknown): boolean {
    return cause instanceof MatrixError && /\/media\//.test(cause.url ?? "");
  }

  async leave(roomId: string): Promise<void> {
    await understood(this.#client.leave(roomId));
    // Forgetting only tidies up; leaving is what was asked for.
    await this.#client.forget(roomId).catch(() => undefined);
    this.#touch(roomId);
    await this.#whenListed(roomId, undefined);
  }

  /** Waits until the list shows the room with this membership, so that what is shown next is true. */
  #whenListed(roomId: string, membership: RoomSummary["membership"] | undefined): Promise<void> {
    const isListed = (): boolean =>
      this.rooms.get().find((room) => room.roomId === roomId)?.membership === membership;
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        stop();
        resolve();
      };
      const timer = setTimeout(finish, EFFECT_MS);
      const stop = this.rooms.subscribe(() => isListed() && finish());
      if (isListed()) finish();
    });
  }

  reconnect(): void {
    this.#client.retryImmediately();
  }

  confirmPassword(password: string): Promise<void> {
    return this.#identity.confirmPassword(password);
  }

  stop(): void {
    clearTimeout(this.#refreshTimer);
    this.#client.stopClient();
  }

  async signOut(): Promise<void> {
    // Without an answer the session is forgotten here all the same.
    await this.#client.logout(true).catch(() => undefined);
    this.stop();
    await this.#client.clearStores({ cryptoDatabasePrefix: CRYPTO_STORE });
  }
}

function newClient(session: Credentials): MatrixClient {
  quietSdk();
  return createClient({
    baseUrl: location.origin,
    userId: session.userId,
    deviceId: session.deviceId,
    accessToken: session.accessToken,
    store: new IndexedDBStore({ indexedDB, localStorage, dbName: SYNC_STORE }),
    timelineSupport: true,
    disableVoip: true,
    logger: sdkLogger,
  });
}

/**
 * Starts the SDK for a session: stores, encryption, then sync.
 * `password` is given right after signing in, for the one request that may ask for it again.
 */
export async function startCore(
  session: Credentials,
  password: string | undefined,
  events: CoreEvents,
): Promise<Core> {
  const client = newClient(session);
  // A new device must not find the keys of the one before it.
  if (password !== undefined) await client.clearStores({ cryptoDatabasePrefix: CRYPTO_STORE });
  await client.store.startup();
  await client.initRustCrypto({ cryptoDatabasePrefix: CRYPTO_STORE });
  const core = new MatrixCore(client, password, events);
  await client.startClient({
    initialSyncLimit: INITIAL_EVENTS,
    lazyLoadMembers: true,
    disablePresence: true,
    pendingEventOrdering: PendingEventOrdering.Detached,
  });
  return core;
}

/** Removes what an ended session left in this browser. */
export async function forgetSession(session: Credentials): Promise<void> {
  await newClient(session).clearStores({ cryptoDatabasePrefix: CRYPTO_STORE });
}
