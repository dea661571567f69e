import type { ReactNode } from "react";
import { classes } from "./classes";

const COLORS = [
  "bg-avatar-1",
  "bg-avatar-2",
  "bg-avatar-3",
  "bg-avatar-4",
  "bg-avatar-5",
  "bg-avatar-6",
] as const;

const SIZES = {
  small: "size-7 text-xs",
  normal: "size-9 text-sm",
  large: "size-16 text-xl",
} as const;

/** The same color for the same id, on every device. */
function colorOf(id: string): string {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 65_521;
  return COLORS[hash % COLORS.length] ?? COLORS[0];
}

function initial(name: string): string {
  const letters = name.replace(/^[^\p{L}\p{N}]+/u, "");
  const [first] = new Intl.Segmenter().segment(letters === "" ? name : letters);
  return (first?.segment ?? "?").toLocaleUpperCase();
}

interface AvatarProps {
  readonly id: string;
  readonly name: string;
  readonly shape?: "person" | "room";
  readonly size?: keyof typeof SIZES;
}

/** Decorative: the name always stands beside it. */
export function Avatar({ id, name, shape = "person", size = "normal" }: AvatarProps): ReactNode {
  return (
    <span
      aria-hidden="true"
      className={classes(
        "inline-flex shrink-0 select-none items-center justify-center font-semibold text-text-1",
        shape === "person" ? "rounded-full" : size === "large" ? "rounded-lg" : "rounded-[10px]",
        SIZES[size],
        colorOf(id),
      )}
    >
      {initial(name)}
    </span>
  );
}
