import { useState } from "react";
import { problemFrom } from "../core/errors";
import { t } from "../i18n";

interface Command<A extends readonly unknown[]> {
  readonly run: (...args: A) => Promise<boolean>;
  readonly isBusy: boolean;
  /** Why the last run failed, in words. */
  readonly failure: string | undefined;
}

/** Runs one command at a time; `run` answers whether it went well and never throws. */
export function useCommand<A extends readonly unknown[]>(command: (...args: A) => Promise<void>): Command<A> {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string>();

  async function run(...args: A): Promise<boolean> {
    if (isBusy) return false;
    setBusy(true);
    setFailure(undefined);
    try {
      await command(...args);
      return true;
    } catch (error) {
      setFailure(t.problem(problemFrom(error)));
      return false;
    } finally {
      setBusy(false);
    }
  }
  return { run, isBusy, failure };
}
