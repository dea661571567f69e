import {
  Direction,
  EventStatus,
  MsgType,
  NotificationCountType,
  type MatrixClient,
  type MatrixEvent,
  type Room,
} from "matrix-js-sdk";
import { roomMembers } from "./room-summary";
import { keepUnchanged, Source } from "./snapshot";
import { itemKey, timelineItem } from "./timeline-items";
import type { Member, RoomView, TimelineItem, TimelineState } from "./types";

/** Events asked for per page of history. */
const PAGE_EVENTS = 40;
/** Pages fetched in a row when the events of one lead to no visible row. */
const EMPTY_PAGES_MAX = 5;

/** A joined room, kept in step with the SDK's model of it by `refresh`. */
export class LiveRoom implements RoomView {
  readonly #client: MatrixClient;
  readonly #room: Room;
  readonly #timeline = new Source<TimelineState>({ items: [], hasMore: true, loading: "idle" });
  readonly #members = new Source<readonly Member[]>([]);

  constructor(client: MatrixClient, room: Room) {
    this.#client = client;
    this.#room = room;
    this.refresh();
  }

  get timeline(): Source<TimelineState> {
    return this.#timeline;
  }

  get members(): Source<readonly Member[]> {
    return this.#members;
  }

  /** Reads the SDK's model again; rows that say the same keep their identity. */
  refresh(): void {
    const before = this.#timeline.get();
    const items = keepUnchanged<TimelineItem>(before.items, this.#items(), (item) => item.key);
    const hasMore = this.#room.getLiveTimeline().getPaginationToken(Direction.Backward) !== null;
    if (items !== before.items || hasMore !== before.hasMore) {
      this.#timeline.set({ ...before, items, hasMore });
    }
    this.#members.set(keepUnchanged(this.#members.get(), roomMembers(this.#room), ({ userId }) => userId));
  }

  #events(): readonly MatrixEvent[] {
    return [...this.#room.getLiveTimeline().getEvents(), ...this.#room.getPendingEvents()];
  }

  #items(): readonly TimelineItem[] {
    return this.#events()
      .map((event) => timelineItem(this.#room, event))
      .filter((item) => item !== undefined);
  }

  async loadMore(): Promise<void> {
    const { loading, hasMore } = this.#timeline.get();
    if (loading === "loading" || !hasMore) return;
    this.#timeline.set({ ...this.#timeline.get(), loading: "loading" });
    const rowsBefore = this.#items().length;
    try {
      for (let page = 0; page < EMPTY_PAGES_MAX; page += 1) {
        // Pages follow each other: each starts where the last one ended.
        // oxlint-disable-next-line no-await-in-loop
        const hasMoreEvents = await this.#client.paginateEventTimeline(this.#room.getLiveTimeline(), {
          backwards: true,
          limit: PAGE_EVENTS,
        });
        if (!hasMoreEvents || this.#items().length > rowsBefore) break;
      }
      this.#settleLoading("idle");
    } catch {
      this.#settleLoading("failed");
    }
  }

  #settleLoading(loading: TimelineState["loading"]): void {
    this.refresh();
    this.#timeline.set({ ...this.#timeline.get(), loading });
  }

  async loadMembers(): Promise<void> {
    await this.#room.loadMembersIfNeeded();
    this.refresh();
  }

  send(text: string): void {
    // A failure shows as the state of the row; there is nobody else to tell.
    this.#client
      .sendMessage(this.#room.roomId, { msgtype: MsgType.Text, body: text })
      .catch(() => this.refresh());
  }

  #pending(key: string): MatrixEvent | undefined {
    return this.#room
      .getPendingEvents()
      .find((event) => itemKey(event) === key && event.status === EventStatus.NOT_SENT);
  }

  retry(key: string): void {
    const event = this.#pending(key);
    if (event !== undefined) this.#client.resendEvent(event, this.#room).catch(() => this.refresh());
  }

  discard(key: string): void {
    const event = this.#pending(key);
    if (event !== undefined) this.#client.cancelPendingEvent(event);
  }

  markRead(): void {
    const last = this.#room
      .getLiveTimeline()
      .getEvents()
      .findLast((event) => event.status === null);
    if (last === undefined || this.#room.hasUserReadEvent(this.#client.getSafeUserId(), last.getId() ?? "")) {
      return;
    }
    // Shown as read at once; the server's count follows with the next sync.
    this.#room.setUnreadNotificationCount(NotificationCountType.Total, 0);
    this.#room.setUnreadNotificationCount(NotificationCountType.Highlight, 0);
    this.#client.sendReadReceipt(last).catch(() => undefined);
  }
}
