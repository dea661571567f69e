import type { ReactNode } from "react";
import { Outlet, useMatch } from "react-router";
import { ConnectionBanner } from "../features/connection";
import { UserMenu } from "../features/profile";
import { RoomList } from "../features/rooms";
import { IdentityBanner } from "../features/verification";
import { t } from "../i18n";
import { useIsWide } from "../store/layout";

function SkipLink(): ReactNode {
  return (
    <a
      href="#content"
      className="fixed start-2 top-2 z-50 -translate-y-16 rounded-sm bg-accent px-4 py-2 text-on-accent focus:translate-y-0"
    >
      {t.app.skipToContent}
    </a>
  );
}

function Panes(): ReactNode {
  const isWide = useIsWide();
  const isHome = useMatch("/") !== null;
  if (!isWide && isHome) {
    return (
      <main className="flex min-h-0 flex-1 flex-col bg-surface-2">
        <RoomList isAlone />
        <UserMenu />
      </main>
    );
  }
  return (
    <div className="flex min-h-0 flex-1">
      {isWide && (
        <div className="flex w-[18.5rem] shrink-0 flex-col border-e border-line bg-surface-2">
          <SkipLink />
          <RoomList />
          <UserMenu />
        </div>
      )}
      <main id="content" tabIndex={-1} className="min-w-0 flex-1 outline-none">
        <Outlet />
      </main>
    </div>
  );
}

/** List and main pane side by side; on a phone one of them, by the address. */
export function Workspace(): ReactNode {
  return (
    <div className="flex h-full flex-col">
      <ConnectionBanner />
      <IdentityBanner />
      <Panes />
    </div>
  );
}
