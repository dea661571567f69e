import { ChevronsUpDown, Copy, LogOut } from "lucide-react";
import { useState, type ReactNode } from "react";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { notify } from "../../store/notices";
import { signOut } from "../../store/session";
import { chooseTheme, useTheme, type Theme } from "../../store/theme";
import { Avatar } from "../../ui/Avatar";
import { ConfirmDialog } from "../../ui/ConfirmDialog";
import { Menu, MenuChoice, MenuItem, MenuSeparator } from "../../ui/Menu";

const THEMES: readonly (readonly [Theme, string])[] = [
  ["system", t.profile.themes.system],
  ["light", t.profile.themes.light],
  ["dark", t.profile.themes.dark],
];

export function UserMenu(): ReactNode {
  const core = useCore();
  const theme = useTheme();
  const [isSigningOut, setSigningOut] = useState(false);
  const { userId, name } = core.me;

  async function copyId(): Promise<void> {
    await navigator.clipboard.writeText(userId);
    notify(t.home.copied);
  }

  return (
    <section aria-label={t.profile.menu} className="shrink-0 border-t border-line p-2">
      <Menu
        align="start"
        trigger={
          <button
            type="button"
            className="flex w-full items-center gap-3 rounded-sm p-2 text-start transition-colors hover:bg-surface-3 aria-expanded:bg-surface-3"
          >
            <span className="sr-only">{t.profile.menu}: </span>
            <Avatar id={userId} name={name} />
            <span className="min-w-0 flex-1">
              <span className="block truncate font-medium">{name}</span>
              <span className="block truncate text-xs text-text-3">{userId}</span>
            </span>
            <ChevronsUpDown aria-hidden="true" className="size-4 text-text-3" />
          </button>
        }
      >
        <MenuChoice label={t.profile.theme} value={theme} options={THEMES} onChoose={chooseTheme} />
        <MenuSeparator />
        <MenuItem icon={<Copy aria-hidden="true" />} onSelect={() => void copyId()}>
          {t.profile.copyId}
        </MenuItem>
        <MenuItem icon={<LogOut aria-hidden="true" />} tone="danger" onSelect={() => setSigningOut(true)}>
          {t.profile.signOut}
        </MenuItem>
      </Menu>
      {isSigningOut && (
        <ConfirmDialog
          title={t.profile.signOutTitle}
          body={t.profile.signOutBody}
          action={t.profile.signOut}
          onConfirm={() => signOut(core)}
          onClose={() => setSigningOut(false)}
        />
      )}
    </section>
  );
}
