/** The text of a `text/event-stream`, put together from pieces of any size. */

export interface ServerEvent {
  name: string;
  data: string;
}

/** A field longer than this is no event of ours. */
const MOST_CHARACTERS = 65_536;

export class EventParser {
  /** What to send as `Last-Event-ID` after an interruption. */
  lastId = "";
  /** Counts from the event's end on: an event that was cut off must come again. */
  #id = "";
  #rest = "";
  #name = "";
  /** Each line after a line feed. */
  #data = "";
  #first = true;

  constructor(lastId = "") {
    this.lastId = this.#id = lastId;
  }

  /** Takes the next piece and returns the events that it completes. Throws when a field has no end. */
  push(piece: string): ServerEvent[] {
    if (this.#first && piece) {
      piece = piece.replace(/^\uFEFF/, "");
      this.#first = false;
    }
    const text = this.#rest + piece;
    // A CR at the very end may be the first half of a CR LF: it waits for the next piece.
    const whole = text.endsWith("\r") ? text.slice(0, -1) : text;
    const lines = whole.split(/\r\n|\r|\n/);
    this.#rest = (lines.pop() ?? "") + text.slice(whole.length);
    const events: ServerEvent[] = [];
    for (const line of lines) this.#line(line, events);
    if (this.#rest.length + this.#data.length > MOST_CHARACTERS) throw new RangeError("an event without end");
    return events;
  }

  #line(line: string, events: ServerEvent[]): void {
    if (line === "") {
      this.lastId = this.#id;
      if (this.#data) events.push({ name: this.#name || "message", data: this.#data.slice(1) });
      this.#name = "";
      this.#data = "";
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data += `\n${value}`;
    // What cannot be sent back in a header is no id.
    else if (field === "id" && /^[\x20-\x7e]{0,255}$/.test(value)) this.#id = value;
  }
}
