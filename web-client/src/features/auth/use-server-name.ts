import { useEffect, useState } from "react";
import { serverName } from "../../core/auth";

/** The name of this homeserver, once it is known. */
export function useServerName(): string | undefined {
  const [name, setName] = useState<string>();
  useEffect(() => {
    let isWanted = true;
    void serverName().then((found) => isWanted && setName(found));
    return () => {
      isWanted = false;
    };
  }, []);
  return name;
}
