import type { ReactNode } from "react";
import { Outlet, useMatch } from "react-router";
import { ConnectionBanner } from "../features/connection";
import { UserMenu } from "../features/profile";
import { RoomList } from "../features/rooms";
import { IdentityBanner } from "../features/verification";
import { t } from "../i18n";
import { classes } from "../ui/classes";

/** List and main pane side by side; on a phone one of them, by the address. */
export function Workspace(): ReactNode {
  const isHome = useMatch("/") !== null;
  return (
    <div className="flex h-full flex-col">
      <a
        href="#content"
        className="fixed start-2 top-2 z-50 -translate-y-16 rounded-sm bg-accent px-4 py-2 text-on-accent focus:translate-y-0"
      >
        {t.app.skipToContent}
      </a>
      <ConnectionBanner />
      <IdentityBanner />
      <div className="flex min-h-0 flex-1">
        <div
          className={classes(
            "flex w-full min-w-0 flex-col bg-surface-2 wide:w-[18.5rem] wide:shrink-0 wide:border-e wide:border-line",
            !isHome && "max-wide:hidden",
          )}
        >
          <RoomList />
          <UserMenu />
        </div>
        <main
          id="content"
          tabIndex={-1}
          className={classes("min-w-0 flex-1 outline-none", isHome && "max-wide:hidden")}
        >
          <Outlet />
        </main>
      </div>
    </div>
  );
}
