import { en, type Messages } from "./en";

/** The catalogue in use. One language so far; a second one makes this a choice at start. */
export const t: Messages = en;
