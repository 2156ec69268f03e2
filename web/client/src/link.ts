/** ICE servers from `Link` headers: RFC 8288 for the syntax, RFC 9725 §4.6 for the relation `ice-server`. */

/** Splits at `separator` outside of `<…>` and `"…"`. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let part = "";
  let quoted = false;
  let bracketed = false;
  for (let index = 0; index < text.length; index += 1) {
    const char = text[index] as string;
    if (quoted && char === "\\") {
      part += char + (text[index + 1] ?? "");
      index += 1;
      continue;
    }
    if (char === '"' && !bracketed) quoted = !quoted;
    else if (char === "<" && !quoted) bracketed = true;
    else if (char === ">" && !quoted) bracketed = false;
    if (char === separator && !quoted && !bracketed) {
      parts.push(part);
      part = "";
    } else {
      part += char;
    }
  }
  parts.push(part);
  return parts.map((text) => text.trim()).filter((text) => text !== "");
}

/** The value of a parameter: a token, or a quoted string with its escapes undone. */
function unquote(value: string): string {
  return value.startsWith('"') && value.endsWith('"') && value.length > 1
    ? value.slice(1, -1).replace(/\\(.)/g, "$1")
    : value;
}

/** The ICE servers that a `Link` header names; other relations are left out. */
export function iceServersOfLink(header: string | null): RTCIceServer[] {
  if (header === null) return [];
  const servers: RTCIceServer[] = [];
  for (const link of split(header, ",")) {
    const [target, ...rest] = split(link, ";");
    if (target === undefined || !target.startsWith("<") || !target.endsWith(">")) continue;
    const parameters = new Map<string, string>();
    for (const text of rest) {
      const at = text.indexOf("=");
      const name = (at < 0 ? text : text.slice(0, at)).trim().toLowerCase();
      if (!parameters.has(name)) parameters.set(name, at < 0 ? "" : unquote(text.slice(at + 1).trim()));
    }
    if (!(parameters.get("rel") ?? "").split(/\s+/).includes("ice-server")) continue;
    const server: RTCIceServer = { urls: target.slice(1, -1) };
    const username = parameters.get("username");
    const credential = parameters.get("credential");
    if (username !== undefined) server.username = username;
    if (credential !== undefined) server.credential = credential;
    servers.push(server);
  }
  return servers;
}
