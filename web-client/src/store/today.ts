import { create } from "zustand";

const CHECK_MS = 60_000;

const midnight = (): number => new Date().setHours(0, 0, 0, 0);

/** The start of the current day, by the calendar of the reader; changes while the page stays open overnight. */
export const useToday = create<number>(midnight);

setInterval(() => useToday.setState(midnight(), true), CHECK_MS);
