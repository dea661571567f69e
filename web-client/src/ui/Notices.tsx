import { X } from "lucide-react";
import type { ReactNode } from "react";
import { t } from "../i18n";
import { dismissNotice, useNotices } from "../store/notices";
import { classes } from "./classes";

/** The notices at the lower edge; read out politely. */
export function Notices(): ReactNode {
  const notices = useNotices();
  return (
    <div
      role="status"
      className="pointer-events-none fixed inset-x-4 bottom-24 z-50 flex flex-col items-center gap-2"
    >
      {notices.map((notice) => (
        <div
          key={notice.id}
          className={classes(
            "pointer-events-auto flex max-w-md animate-rise items-center gap-2 rounded-md ps-4 pe-1.5 py-1.5 text-sm shadow-overlay",
            notice.tone === "danger" ? "bg-danger text-on-danger" : "bg-text-1 text-surface-1",
          )}
        >
          <span className="py-1">{notice.text}</span>
          <button
            type="button"
            aria-label={t.app.dismiss}
            className="inline-flex size-8 items-center justify-center rounded-[6px] opacity-80 hover:opacity-100"
            onClick={() => dismissNotice(notice.id)}
          >
            <X aria-hidden="true" className="size-4" />
          </button>
        </div>
      ))}
    </div>
  );
}
