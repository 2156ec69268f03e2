/** Trickle ICE by SDP fragments: RFC 8840 §9 for the syntax, RFC 9725 §4.3 for its use by WHIP. */

/** A candidate with the media section that it belongs to. */
export interface Candidate {
  /** The attribute's value, `candidate:…`, without `a=`. */
  candidate: string;
  sdpMid: string;
}

/** What a fragment says. */
export interface Fragment {
  ufrag: string;
  pwd: string;
  candidates: Candidate[];
  /** No more will come. */
  endOfCandidates: boolean;
}

/** The first value of an `a=NAME:` line. */
function attribute(sdp: string, name: string): string | undefined {
  return new RegExp(`^a=${name}:(.*?)\\s*$`, "m").exec(sdp)?.[1];
}

/** The ICE credentials that a description carries, those of its first media section. */
export function credentialsOf(sdp: string): { ufrag: string; pwd: string } | null {
  const ufrag = attribute(sdp, "ice-ufrag");
  const pwd = attribute(sdp, "ice-pwd");
  return ufrag === undefined || pwd === undefined ? null : { ufrag, pwd };
}

/** The media sections of a description: each `m=` line, with the port that stands for none (RFC 8840 §9), and its `a=mid`. */
function sections(sdp: string): { media: string; mid: string }[] {
  return sdp
    .split(/^(?=m=)/m)
    .slice(1)
    .map((section) => ({ media: (section.split(/\r?\n/, 1)[0] ?? "").trim().replace(/^(m=\S+) \d+/, "$1 9"), mid: attribute(section, "mid") ?? "" }));
}

/**
 * Writes a fragment for candidates of the local description `offer`.
 *
 * Candidates are put under their own media section; a section without any is left out, and with no candidates at all the
 * first section stands for the restart or the end.
 */
export function writeFragment(offer: string, candidates: readonly Candidate[], endOfCandidates: boolean): string {
  const credentials = credentialsOf(offer);
  const lines = credentials === null ? [] : [`a=ice-ufrag:${credentials.ufrag}`, `a=ice-pwd:${credentials.pwd}`];
  const all = sections(offer);
  const used = all.filter((section) => candidates.some((candidate) => candidate.sdpMid === section.mid));
  for (const section of used.length > 0 ? used : all.slice(0, 1)) {
    lines.push(section.media, `a=mid:${section.mid}`);
    for (const candidate of candidates) {
      if (candidate.sdpMid === section.mid) lines.push(`a=${candidate.candidate}`);
    }
    if (endOfCandidates) lines.push("a=end-of-candidates");
  }
  return `${lines.join("\r\n")}\r\n`;
}

/** Reads a fragment; `null` if it has no credentials. */
export function readFragment(text: string): Fragment | null {
  const credentials = credentialsOf(text);
  if (credentials === null) return null;
  const candidates: Candidate[] = [];
  let mid = "";
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("a=mid:")) mid = line.slice("a=mid:".length).trim();
    else if (line.startsWith("a=candidate:")) candidates.push({ candidate: line.slice(2).trim(), sdpMid: mid });
  }
  return { ...credentials, candidates, endOfCandidates: /^a=end-of-candidates/m.test(text) };
}

/** The remote description after an ICE restart: `answer` with the fragment's credentials and candidates for its own. */
export function restartedAnswer(answer: string, fragment: Fragment): string {
  const parts = answer
    .replace(/^a=(candidate:|end-of-candidates).*(\r?\n|$)/gm, "")
    .replace(/^(a=ice-ufrag:).*?(\r?)$/gm, `$1${fragment.ufrag}$2`)
    .replace(/^(a=ice-pwd:).*?(\r?)$/gm, `$1${fragment.pwd}$2`)
    .split(/^(?=m=)/m);
  // With BUNDLE all media go by the first section's transport, so its candidates are the ones that count.
  return parts
    .map((part, index) => (index === 1 ? part + fragment.candidates.map((c) => `a=${c.candidate}\r\n`).join("") : part))
    .join("");
}
