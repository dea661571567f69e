// The rules of the folders, checked over every import of the client.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "..");
const IMPORT = /(?:from|import)\s*\(?\s*"([^"]+)"/g;

interface Import {
  readonly file: string;
  readonly target: string;
}

function imports(): readonly Import[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.tsx?$/.test(file) && !file.includes(".test."))
    .flatMap((file) =>
      [...readFileSync(join(SRC, file), "utf8").matchAll(IMPORT)].map(([, specifier = ""]) => ({
        file: file.split(sep).join("/"),
        target: specifier.startsWith(".")
          ? relative(SRC, resolve(SRC, file, "..", specifier))
              .split(sep)
              .join("/")
          : specifier,
      })),
    );
}

function offenders(isForbidden: (of: Import) => boolean): readonly string[] {
  return imports()
    .filter(isForbidden)
    .map(({ file, target }) => `${file} → ${target}`);
}

test("only core/ knows the SDK", () => {
  const isSdk = (target: string): boolean =>
    target.startsWith("matrix-js-sdk") || target.startsWith("@matrix-org/");
  expect(offenders(({ file, target }) => isSdk(target) && !file.startsWith("core/"))).toEqual([]);
  expect(imports().some(({ target }) => isSdk(target))).toBe(true);
});

test("core/ has no React and nothing of the layers above it", () => {
  const isAbove = (target: string): boolean =>
    /^(react|radix-ui|zustand)/.test(target) || /^(app|features|ui|store|i18n)\//.test(target);
  expect(offenders(({ file, target }) => file.startsWith("core/") && isAbove(target))).toEqual([]);
});

test("the SDK's chunk is entered through core/start alone", () => {
  const entry = "core/matrix-core";
  expect(offenders(({ file, target }) => target === entry && file !== "core/start.ts")).toEqual([]);
});

test("features use each other's front door only", () => {
  const feature = (path: string): string | undefined => /^features\/([^/]+)/.exec(path)?.[1];
  const isInside = ({ file, target }: Import): boolean =>
    feature(target) !== undefined && feature(file) !== feature(target) && target.split("/").length > 2;
  expect(offenders(isInside)).toEqual([]);
});

test("ui/ knows no feature", () => {
  expect(offenders(({ file, target }) => file.startsWith("ui/") && target.startsWith("features/"))).toEqual(
    [],
  );
});
