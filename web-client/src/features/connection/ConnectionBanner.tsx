import { Check, CloudOff } from "lucide-react";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { useSnapshot } from "../../store/snapshot";
import { Button } from "../../ui/Button";

const REGAINED_MS = 3000;

/** Whether the connection came back a moment ago. */
function useRegained(isOffline: boolean): boolean {
  const wasOffline = useRef(false);
  const [isRegained, setRegained] = useState(false);
  useEffect(() => {
    const hasReturned = wasOffline.current && !isOffline;
    wasOffline.current = isOffline;
    setRegained(hasReturned);
    if (!hasReturned) return undefined;
    const timer = setTimeout(() => setRegained(false), REGAINED_MS);
    return () => clearTimeout(timer);
  }, [isOffline]);
  return isRegained;
}

/** Says that the server is out of reach, and when it is back. */
export function ConnectionBanner(): ReactNode {
  const core = useCore();
  const isOffline = useSnapshot(core.connection) === "offline";
  const isRegained = useRegained(isOffline);

  useEffect(() => {
    const wake = (): void => core.reconnect();
    window.addEventListener("online", wake);
    return () => window.removeEventListener("online", wake);
  }, [core]);

  return (
    <div role="status">
      {isOffline && (
        <div className="flex animate-appear items-center justify-center gap-3 bg-warn-soft px-4 py-1.5 text-sm">
          <CloudOff aria-hidden="true" className="size-4 shrink-0" />
          {t.connection.offline}
          <Button size="small" onClick={() => core.reconnect()}>
            {t.connection.retryNow}
          </Button>
        </div>
      )}
      {isRegained && (
        <div className="flex animate-appear items-center justify-center gap-2 bg-surface-3 px-4 py-2 text-sm text-safe">
          <Check aria-hidden="true" className="size-4" />
          {t.connection.live}
        </div>
      )}
    </div>
  );
}
