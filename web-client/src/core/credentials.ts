import type { Credentials } from "./types";

const KEY = "hearth.session";

/** The session of this browser, if one was kept and is readable. */
export function loadCredentials(): Credentials | undefined {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return isCredentials(kept) ? kept : undefined;
  } catch {
    return undefined;
  }
}

export function saveCredentials(credentials: Credentials): void {
  localStorage.setItem(KEY, JSON.stringify(credentials));
}

export function clearCredentials(): void {
  localStorage.removeItem(KEY);
}

function isCredentials(value: unknown): value is Credentials {
  return (
    typeof value === "object" &&
    value !== null &&
    ["userId", "deviceId", "accessToken"].every(
      (field) => typeof (value as Record<string, unknown>)[field] === "string",
    )
  );
}
