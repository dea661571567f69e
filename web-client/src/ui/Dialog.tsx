import { Dialog as Radix } from "radix-ui";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { t } from "../i18n";

interface DialogProps {
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly title: string;
  readonly description?: string;
  readonly children: ReactNode;
}

/** What one came to fill in takes the focus, not the close button before it. */
function focusFirstInput(event: Event): void {
  const input = event.currentTarget instanceof HTMLElement && event.currentTarget.querySelector("input");
  if (!input) return;
  event.preventDefault();
  input.focus();
}

/**
 * A modal dialog: traps the focus, closes on Escape and gives the focus back.
 * The scrim is our own element: Radix's overlay writes a style tag, which the content security policy forbids.
 */
export function Dialog({ isOpen, onClose, title, description, children }: DialogProps): ReactNode {
  return (
    <Radix.Root open={isOpen} onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <div className="fixed inset-0 z-30 animate-appear bg-scrim backdrop-blur-[2px]" aria-hidden="true" />
        <Radix.Content
          className="fixed inset-x-4 top-1/2 z-40 mx-auto max-h-[calc(100dvh-2rem)] max-w-md -translate-y-1/2 animate-appear overflow-y-auto rounded-lg bg-overlay p-6 shadow-overlay"
          onOpenAutoFocus={focusFirstInput}
          {...(description === undefined ? { "aria-describedby": undefined } : {})}
        >
          <div className="mb-1 flex items-start justify-between gap-4">
            <Radix.Title className="pt-1 text-lg font-semibold text-balance break-words">{title}</Radix.Title>
            <Radix.Close
              aria-label={t.app.close}
              className="-me-2 -mt-1 inline-flex size-9 shrink-0 items-center justify-center rounded-sm text-text-2 transition-colors hover:bg-surface-3 hover:text-text-1 pointer-coarse:size-11"
            >
              <X aria-hidden="true" className="size-[18px]" />
            </Radix.Close>
          </div>
          {description !== undefined && (
            <Radix.Description className="text-text-2">{description}</Radix.Description>
          )}
          <div className="mt-5">{children}</div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
