// Every pair of tokens that carries text has the contrast WCAG 2.2 AA asks for, in both themes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

type Theme = "light" | "dark";

const css = readFileSync(join(import.meta.dirname, "../ui/tokens.css"), "utf8");

const SURFACES = ["surface-1", "surface-2", "surface-3", "overlay"];
const AVATARS = [1, 2, 3, 4, 5, 6].map((n) => `avatar-${n}`);

/** [text, background, least contrast] */
const PAIRS: readonly (readonly [string, string, number])[] = [
  ...["text-1", "text-2", "text-3", "accent-text"].flatMap((text) =>
    SURFACES.map((surface) => [text, surface, 4.5] as const),
  ),
  ...["surface-1", "overlay"].map((surface) => ["danger", surface, 4.5] as const),
  ...["surface-1", "surface-2", "surface-3"].map((surface) => ["safe", surface, 4.5] as const),
  ["danger", "danger-soft", 4.5],
  ["on-danger", "danger", 4.5],
  ["on-accent", "accent", 4.5],
  ["on-accent", "accent-hover", 4.5],
  ["text-1", "accent-soft", 4.5],
  ["text-1", "warn-soft", 4.5],
  ["surface-1", "text-1", 4.5],
  ...AVATARS.map((avatar) => ["text-1", avatar, 4.5] as const),
  // Borders of fields and the focus ring are not text: 3:1.
  ...["surface-1", "overlay"].map((surface) => ["line-strong", surface, 3] as const),
  ...SURFACES.map((surface) => ["accent", surface, 3] as const),
];

function oklch(token: string, theme: Theme): readonly [number, number, number] {
  const value = new RegExp(`--${token}: light-dark\\(oklch\\(([^)]+)\\), oklch\\(([^)]+)\\)\\)`).exec(css);
  const [l, c, h] = (value?.[theme === "light" ? 1 : 2] ?? "").split(" ").map(Number);
  if (l === undefined || c === undefined || h === undefined) throw new Error(`no token --${token}`);
  return [l, c, h];
}

/** Relative luminance of an OKLCH color inside the sRGB gamut (https://www.w3.org/TR/css-color-4/#color-conversion-code). */
function luminance(token: string, theme: Theme): number {
  const [lightness, chroma, hue] = oklch(token, theme);
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const clamp = (value: number): number => Math.min(1, Math.max(0, value));
  const red = clamp(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
  const green = clamp(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
  const blue = clamp(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string, theme: Theme): number {
  const [dark = 0, light = 0] = [luminance(one, theme), luminance(other, theme)].toSorted((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

describe.each(["light", "dark"] as const)("%s theme", (theme) => {
  test.each(PAIRS)("%s on %s has at least %f", (text, background, least) => {
    expect(contrast(text, background, theme)).toBeGreaterThanOrEqual(least);
  });
});
