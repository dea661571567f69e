import { logger, type Logger } from "matrix-js-sdk/lib/logger";

const silent = (): void => undefined;

/** The SDK narrates every request; a person's console needs none of it, and no event content may end up there. */
export const sdkLogger: Logger = {
  trace: silent,
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  getChild: () => sdkLogger,
};

/** Parts of the SDK write to its global logger all the same; that one is a `loglevel` logger underneath. */
export function quietSdk(): void {
  (logger as unknown as { setLevel(level: "silent", isKept: boolean): void }).setLevel("silent", false);
}
