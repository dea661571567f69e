import { useEffect, useState } from "react";
import { serverName } from "../../core/auth";

/** The name of this homeserver; the host of the page until it is known. */
export function useServerName(): string {
  const [name, setName] = useState(location.host);
  useEffect(() => {
    let isWanted = true;
    void serverName().then((found) => isWanted && setName(found));
    return () => {
      isWanted = false;
    };
  }, []);
  return name;
}
