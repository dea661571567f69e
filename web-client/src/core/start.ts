/** The only door to the SDK: it is fetched when a session starts, or ahead of time while the page is idle. */
import type { Core, CoreEvents, Credentials } from "./types";

const load = (): Promise<typeof import("./matrix-core")> => import("./matrix-core");

/** Fetches the SDK in the background. A failure does not matter: starting tries again. */
export function preloadCore(): void {
  load().catch(() => undefined);
}

export async function startCore(
  session: Credentials,
  password: string | undefined,
  events: CoreEvents,
): Promise<Core> {
  return (await load()).startCore(session, password, events);
}

export async function forgetSession(session: Credentials): Promise<void> {
  await (await load()).forgetSession(session);
}
