import { create } from "zustand";
import { clearCredentials, loadCredentials, saveCredentials } from "../core/credentials";
import { problemFrom, type Problem } from "../core/errors";
import { forgetSession, startCore } from "../core/start";
import type { Core, Credentials } from "../core/types";

/**
 * `elsewhere`: another tab of this browser holds the session. The encryption state belongs to one tab at a
 * time: two that write it would corrupt each other's keys.
 */
export type SessionState =
  | { readonly status: "signedOut"; readonly isEnded: boolean }
  | { readonly status: "starting"; readonly userId: string }
  | { readonly status: "elsewhere" }
  | { readonly status: "failed"; readonly problem: Problem }
  | { readonly status: "ready"; readonly core: Core };

const LOCK = "hearth.session";

export const useSession = create<SessionState>(() => ({ status: "signedOut", isEnded: false }));

const set = (state: SessionState): void => useSession.setState(state, true);

function endSession(session: Credentials): void {
  const current = useSession.getState();
  if (current.status === "ready") current.core.stop();
  clearCredentials();
  set({ status: "signedOut", isEnded: true });
  // The next sign-in cleans up what this one could not.
  forgetSession(session).catch(() => undefined);
}

async function run(session: Credentials, password: string | undefined): Promise<void> {
  set({ status: "starting", userId: session.userId });
  try {
    const core = await startCore(session, password, { onSessionEnded: () => endSession(session) });
    set({ status: "ready", core });
  } catch (error) {
    set({ status: "failed", problem: problemFrom(error) });
  }
}

function release(): void {
  const current = useSession.getState();
  if (current.status === "ready") current.core.stop();
  set({ status: "elsewhere" });
}

/** Holds the session in this tab until the tab closes or another one takes over. */
function holdAndRun(session: Credentials, password: string | undefined, isTakeover: boolean): void {
  // Locks and the web's cryptography exist on secure origins only.
  if (!window.isSecureContext) {
    set({ status: "failed", problem: { kind: "notSecure" } });
    return;
  }
  const options: LockOptions = isTakeover ? { steal: true } : { ifAvailable: true };
  let isHeld = false;
  navigator.locks
    .request(LOCK, options, async (lock) => {
      if (lock === null) {
        set({ status: "elsewhere" });
        return;
      }
      isHeld = true;
      await run(session, password);
      await new Promise<void>((resolve) => {
        const stop = useSession.subscribe(({ status }) => {
          if (status !== "signedOut") return;
          stop();
          resolve();
        });
        if (useSession.getState().status === "signedOut") resolve();
      });
    })
    .catch(() => {
      if (isHeld) release();
    });
}

/** Brings back the session of this browser, if it has one. */
export function restoreSession(): void {
  const session = loadCredentials();
  if (session !== undefined) holdAndRun(session, undefined, false);
}

/** Moves the session from the tab that holds it to this one. */
export function takeOverSession(): void {
  const session = loadCredentials();
  if (session === undefined) set({ status: "signedOut", isEnded: false });
  else holdAndRun(session, undefined, true);
}

/** Starts using a session that was just given out. */
export function beginSession(session: Credentials, password: string): void {
  saveCredentials(session);
  holdAndRun(session, password, true);
}

/** Gives up a session that cannot be started. */
export async function abandonSession(): Promise<void> {
  const session = loadCredentials();
  clearCredentials();
  // What stays behind is removed by the next sign-in.
  if (session !== undefined) await forgetSession(session).catch(() => undefined);
  set({ status: "signedOut", isEnded: false });
}

export async function signOut(core: Core): Promise<void> {
  // Forgotten first: whatever happens next, a reload must not bring the session back.
  clearCredentials();
  await core.signOut();
  set({ status: "signedOut", isEnded: false });
}
