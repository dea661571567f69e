import { CircleAlert, KeyRound, RotateCw, Trash2 } from "lucide-react";
import { memo, type ReactNode } from "react";
import type { MessageItem, RoomView } from "../../core/types";
import { t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Button } from "../../ui/Button";
import { classes } from "../../ui/classes";
import { bodyText } from "./body-text";
import { MessageText } from "./MessageText";

function Body({ item }: { readonly item: MessageItem }): ReactNode {
  const { body } = item;
  switch (body.kind) {
    case "text":
      return (
        <p
          className={classes(
            "max-w-[48rem] break-words whitespace-pre-wrap",
            body.style !== "plain" && "text-text-2",
            body.style === "emote" && "italic",
          )}
        >
          {body.style === "emote" && `${item.sender.name} `}
          <MessageText text={body.text} />
          {item.isEdited && <span className="ms-1.5 text-xs text-text-3">({t.timeline.edited})</span>}
        </p>
      );
    case "undecryptable":
      return (
        <p className="flex items-start gap-2 text-sm text-text-3">
          <KeyRound aria-hidden="true" className="mt-0.5 size-4 shrink-0" />
          {bodyText(body)}
        </p>
      );
    default:
      return <p className="text-sm text-text-3 italic">{bodyText(body)}</p>;
  }
}

interface FailedActionsProps {
  readonly itemKey: string;
  readonly view: RoomView;
}

function FailedActions({ itemKey, view }: FailedActionsProps): ReactNode {
  return (
    <div className="mt-1.5 flex flex-wrap items-center gap-2">
      <span className="flex items-center gap-1.5 text-sm font-medium text-danger">
        <CircleAlert aria-hidden="true" className="size-4" />
        {t.timeline.failed}
      </span>
      <Button
        size="small"
        icon={<RotateCw aria-hidden="true" className="size-3.5" />}
        onClick={() => view.retry(itemKey)}
      >
        {t.timeline.retry}
      </Button>
      <Button
        size="small"
        icon={<Trash2 aria-hidden="true" className="size-3.5" />}
        onClick={() => view.discard(itemKey)}
      >
        {t.timeline.discard}
      </Button>
    </div>
  );
}

interface MessageRowProps {
  readonly item: MessageItem;
  readonly isHead: boolean;
  readonly view: RoomView;
}

/** One message. The article takes the focus from the arrow keys of the timeline. */
export const MessageRow = memo(function MessageRow({ item, isHead, view }: MessageRowProps): ReactNode {
  const at = t.timeline.time(item.sentAtMs);
  const isSending = item.sendState === "sending";
  return (
    <article
      tabIndex={-1}
      aria-label={t.timeline.message(item.sender.name, bodyText(item.body), at)}
      className={classes(
        "group flex gap-3 px-4 py-0.5 transition-colors hover:bg-surface-2 focus-visible:-outline-offset-2 wide:px-5",
        isHead && "mt-2.5",
      )}
    >
      <div className="flex w-9 shrink-0 justify-end">
        {isHead ? (
          <Avatar id={item.sender.userId} name={item.sender.name} />
        ) : (
          <time
            dateTime={new Date(item.sentAtMs).toISOString()}
            title={t.timeline.moment(item.sentAtMs)}
            className="pt-1 text-[11px] text-text-3 tabular-nums opacity-0 group-hover:opacity-100 group-focus:opacity-100"
          >
            {at}
          </time>
        )}
      </div>
      <div className={classes("min-w-0 flex-1 transition-colors", isSending && "text-text-3")}>
        {isHead && (
          <div className="flex items-baseline gap-2">
            <span className="truncate font-semibold" title={item.sender.userId}>
              {item.sender.name}
            </span>
            <time
              dateTime={new Date(item.sentAtMs).toISOString()}
              title={t.timeline.moment(item.sentAtMs)}
              className="shrink-0 text-xs text-text-3 tabular-nums"
            >
              {at}
            </time>
          </div>
        )}
        <Body item={item} />
        {isSending && <span className="sr-only">{t.timeline.sending}</span>}
        {item.sendState === "failed" && <FailedActions itemKey={item.key} view={view} />}
      </div>
    </article>
  );
});
