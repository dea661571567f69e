import { create } from "zustand";

export type Theme = "system" | "light" | "dark";

/** Read by `public/theme.js` before the first paint. */
const KEY = "hearth.theme";

function chosenTheme(): Theme {
  const theme = document.documentElement.dataset["theme"];
  return theme === "light" || theme === "dark" ? theme : "system";
}

export const useTheme = create<Theme>(() => chosenTheme());

export function chooseTheme(theme: Theme): void {
  if (theme === "system") {
    delete document.documentElement.dataset["theme"];
    localStorage.removeItem(KEY);
  } else {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem(KEY, theme);
  }
  useTheme.setState(theme, true);
}
