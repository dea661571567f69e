import "../ui/base.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { restoreSession } from "../store/session";
import { App } from "./App";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");

restoreSession();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
