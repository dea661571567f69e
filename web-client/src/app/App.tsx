import { Tooltip } from "radix-ui";
import type { ReactNode } from "react";
import { BrowserRouter, Navigate, Route, Routes, useLocation } from "react-router";
import { LoginPage, RegisterPage } from "../features/auth";
import { HomePage } from "../features/home";
import { RoomPage } from "../features/rooms";
import { CoreContext } from "../store/core";
import { useSession } from "../store/session";
import { Notices } from "../ui/Notices";
import { ErrorBoundary } from "./ErrorBoundary";
import { NotFoundPage } from "./NotFoundPage";
import { ElsewherePage, FailedPage, StartingPage } from "./StatusPages";
import { Workspace } from "./Workspace";

/** Where the visitor wanted to go before signing in. */
interface Wanted {
  readonly from?: string;
}

function SignedOut(): ReactNode {
  const { pathname } = useLocation();
  return (
    <Routes>
      <Route path="/login" element={<LoginPage />} />
      <Route path="/register" element={<RegisterPage />} />
      <Route
        path="*"
        element={<Navigate to="/login" replace state={{ from: pathname } satisfies Wanted} />}
      />
    </Routes>
  );
}

/** From the sign-in to the page that was wanted first. */
function Entered(): ReactNode {
  const state = useLocation().state as Wanted | null;
  return <Navigate to={state?.from ?? "/"} replace />;
}

function Session(): ReactNode {
  const session = useSession();
  switch (session.status) {
    case "signedOut":
      return <SignedOut />;
    case "starting":
      return <StartingPage />;
    case "elsewhere":
      return <ElsewherePage />;
    case "failed":
      return <FailedPage problem={session.problem} />;
    case "ready":
      return (
        <CoreContext value={session.core}>
          <Routes>
            <Route element={<Workspace />}>
              <Route index element={<HomePage />} />
              <Route path="room/:roomId" element={<RoomPage />} />
              <Route path="room/:roomId/members" element={<RoomPage isShowingMembers />} />
              <Route path="*" element={<NotFoundPage />} />
            </Route>
            <Route path="login" element={<Entered />} />
            <Route path="register" element={<Entered />} />
          </Routes>
        </CoreContext>
      );
  }
}

export function App(): ReactNode {
  return (
    <ErrorBoundary>
      <Tooltip.Provider delayDuration={400}>
        <BrowserRouter>
          <Session />
        </BrowserRouter>
        <Notices />
      </Tooltip.Provider>
    </ErrorBoundary>
  );
}
