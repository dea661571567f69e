import { SendHorizontal } from "lucide-react";
import {
  useEffect,
  useLayoutEffect,
  useRef,
  type KeyboardEvent,
  type ReactNode,
  type RefObject,
} from "react";
import type { RoomSummary, RoomView } from "../../core/types";
import { t } from "../../i18n";
import { useDrafts } from "../../store/drafts";
import { classes } from "../../ui/classes";

interface ComposerProps {
  readonly room: RoomSummary;
  readonly view: RoomView;
}

/** Grows with its text up to a third of the window. */
function useGrowing(text: string): RefObject<HTMLTextAreaElement | null> {
  const input = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const element = input.current;
    if (element === null) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, window.innerHeight / 3)}px`;
  }, [text]);
  return input;
}

export function Composer({ room, view }: ComposerProps): ReactNode {
  const text = useDrafts((drafts) => drafts.byRoom[room.roomId] ?? "");
  const write = useDrafts((drafts) => drafts.write);
  const input = useGrowing(text);
  const isEmpty = text.trim() === "";

  useEffect(() => {
    // Not on touch screens, where the keyboard would cover the room.
    if (window.matchMedia("(pointer: fine)").matches) input.current?.focus({ preventScroll: true });
  }, [input]);

  if (!room.canSend) {
    return (
      <p className="border-t border-line p-4 text-center text-sm text-text-3">{t.composer.notAllowed}</p>
    );
  }

  function send(): void {
    if (isEmpty) return;
    view.send(text.trim());
    write(room.roomId, "");
    input.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      className="shrink-0 px-4 pb-4 wide:px-5"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="flex items-end gap-1.5 rounded-md border border-line-strong bg-surface-1 p-1.5 transition-colors focus-within:border-accent focus-within:ring-1 focus-within:ring-accent">
        <textarea
          ref={input}
          rows={1}
          value={text}
          aria-label={t.composer.label(room.name)}
          aria-describedby="composer-hint"
          placeholder={t.composer.placeholder(room.name, room.isEncrypted)}
          className="min-h-9 flex-1 resize-none bg-transparent px-2.5 py-[7px] pointer-coarse:py-[11px] outline-none placeholder:truncate placeholder:text-text-3"
          onChange={(event) => write(room.roomId, event.target.value)}
          onKeyDown={onKeyDown}
        />
        <span id="composer-hint" className="sr-only">
          {t.composer.hint}
        </span>
        <button
          type="submit"
          aria-label={t.composer.send}
          aria-disabled={isEmpty}
          className={classes(
            "inline-flex size-9 shrink-0 items-center justify-center rounded-sm transition-colors pointer-coarse:size-11",
            isEmpty ? "text-text-3" : "bg-accent text-on-accent hover:bg-accent-hover",
          )}
        >
          <SendHorizontal aria-hidden="true" className="size-[18px]" />
        </button>
      </div>
    </form>
  );
}
