/** ICE servers from `Link` fields (RFC 8288, as WHIP uses them): `<turn:…>; rel="ice-server"; username="…"`. */

/** A server that names more than this is not believed further. */
const MOST_SERVERS = 16;

/** A target, or a parameter whose value is a quoted string or a token, or anything else up to the next of them. */
const PIECE = /<([^<>]*)>|;\s*([\w*-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*)))?|[^<;]+/g;

export function iceServers(header: string | null): RTCIceServer[] {
  const links: Record<string, string>[] = [];
  for (const [, target, name, quoted, token = ""] of (header ?? "").matchAll(PIECE)) {
    if (target !== undefined) links.push({ urls: target });
    const link = links.at(-1);
    // The first of a name counts (RFC 8288 §3.3).
    if (link && name) link[name.toLowerCase()] ??= quoted?.replace(/\\(.)/g, "$1") ?? token;
  }
  return links
    .filter(({ urls = "", rel = "" }) => /^(stun|turn)s?:/i.test(urls) && / ice-server /i.test(` ${rel} `))
    .slice(0, MOST_SERVERS)
    .map(({ urls = "", username = "", credential = "" }) => ({ urls, ...(username && { username, credential }) }));
}
